// Transmissions of a batch of views, stretch by stretch.
#include "machine.h"
#include "workspace.h"

using namespace nerp;

NERP_API int nerp_transmission(const NerpTransmission* task) {
    const NerpTransmission& t = *task;
    if (t.n_materials > transmitting_materials || t.n_responses > most_responses) return 1;
    const int64_t stretches = (t.n_pixels + pixels_together - 1) / pixels_together;
    prefer_huge_pages(t.image, size_t(t.n_views) * t.n_variants * t.n_responses * t.n_pixels * sizeof(float));
#pragma omp parallel for num_threads(t.threads) if (t.threads > 1) schedule(dynamic, 16)
    for (int64_t i = 0; i < t.n_views * stretches; ++i) {
        const int64_t pixel = i % stretches * pixels_together, left = t.n_pixels - pixel;
        kernels().transmission(t, int(i / stretches), pixel, int(left < pixels_together ? left : pixels_together));
    }
    return 0;
}
