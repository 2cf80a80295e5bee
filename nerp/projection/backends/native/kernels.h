// The kernels of one instruction set, as the drivers call them: each handles one tile of a detector.
#pragma once

#include "tiles.h"

namespace nerp {

struct Kernels {
    const char* name;
    int lanes;
    void (*march)(const NerpScene&, const Tile&, const NerpMarch&, const float* fields, float* image);
    void (*march_backward)(const NerpScene&, const Tile&, const NerpMarch&, const float* fields,
                           const NerpMarchGradient& to, float* gradient, float* scratch);
    void (*siddon)(const NerpScene&, const Tile&, const float* values, float* image);
    void (*siddon_ahead)(const NerpScene&, const Tile&, bool skip_first, const float* values, float* image);
    void (*siddon_hu)(const NerpScene&, const Tile&, const int16_t* hu, float water_per_mm, float* image);
    void (*siddon_to_volume)(const NerpScene&, const Tile&, const float* grad_image, float* gradient);
    void (*siddon_to_rays)(const NerpScene&, const Tile&, const float* values, const float* grad_image,
                           const NerpRayGradient& to);
    void (*cast_row)(const NerpCamera&, int view, int row, const NerpRayGradient& to);
    void (*cast_row_backward)(const NerpCamera&, int view, int row, const NerpRayGradient& from, double* to);
    void (*label_lengths)(const NerpScene&, const Tile&, const float* map, const NerpLabels&, float* lengths);
    void (*byte_label_lengths)(const NerpScene&, const Tile&, const uint8_t* map, const NerpLabels&, float* lengths);
    void (*materials)(const NerpScene&, const Tile&, const float* codes, const NerpMaterials&, float* blocks,
                      bool* touched, float* image);
    void (*transmission)(const NerpTransmission&, int view, int64_t pixel, int count);
};

extern const Kernels baseline_kernels, avx2_kernels, avx512_kernels;

}  // namespace nerp
