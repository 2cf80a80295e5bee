#include "radiation.h"
NERP_API int nerp_fast_scatter(const NerpMatter*, const NerpRadiation*, const NerpStrips*, const NerpTally*) { return 0; }
