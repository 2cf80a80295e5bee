// Compiled once per instruction set, with -DNERP_ISA=baseline, avx2 or avx512 and its flags.
#include "kernels.h"

#include "cast.h"
#include "label_lengths.h"
#include "march_backward.h"
#include "material_lengths.h"
#include "siddon_rays.h"
#include "transmission.h"

#define NERP_JOIN(a, b) a##b
#define NERP_TABLE(isa) NERP_JOIN(isa, _kernels)
#define NERP_TEXT(isa) #isa
#define NERP_NAME(isa) NERP_TEXT(isa)

namespace nerp {

extern const Kernels NERP_TABLE(NERP_ISA) = {
    NERP_NAME(NERP_ISA),
    NERP_ISA::lanes,
    NERP_ISA::march_tile,
    NERP_ISA::march_tile_backward,
    NERP_ISA::siddon_tile,
    NERP_ISA::siddon_ahead_tile,
    NERP_ISA::siddon_hu_tile,
    NERP_ISA::siddon_tile_to_volume,
    NERP_ISA::siddon_tile_to_rays,
    NERP_ISA::cast_row,
    NERP_ISA::cast_row_backward,
    NERP_ISA::label_tile<float>,
    NERP_ISA::label_tile<uint8_t>,
    NERP_ISA::material_tile,
    NERP_ISA::transmission,
};

}  // namespace nerp
