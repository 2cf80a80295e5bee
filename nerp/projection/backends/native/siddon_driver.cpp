// Exact integrals and label lengths over a batch of views, and the gradients of the former.
#include "machine.h"
#include "strips.h"
#include "workspace.h"

namespace nerp {

// Rays this far apart meet different voxels: the diagonal of a voxel, and some.
constexpr double voxels_apart = 2;

static void siddon_to_volume(const NerpScene& scene, const float* grad_image, float* gradient) {
    for_tiles_apart(scene, 0, voxels_apart, [&](const Tile& tile) {
        kernels().siddon_to_volume(scene, tile, grad_image, gradient);
    });
}

}  // namespace nerp

using namespace nerp;

// Integrals (n_channels, n_views, rows, columns) of values (n_channels, D, H, W).
NERP_API int nerp_siddon(const NerpScene* scene, int n_channels, const float* values, float* image) {
    for (int c = 0; c < n_channels; ++c) {
        const float* const channel = values + c * count_voxels(*scene);
        float* const to = image + c * count_rays(*scene);
        for_tiles(*scene, 0, [&](const Tile& tile) { kernels().siddon(*scene, tile, channel, to); });
    }
    return 0;
}

// The same integrals with the path through each voxel given to the voxel after it; the first may be left out.
NERP_API int nerp_siddon_ahead(const NerpScene* scene, int skip_first, int n_channels, const float* values,
                               float* image) {
    for (int c = 0; c < n_channels; ++c) {
        const float* const channel = values + c * count_voxels(*scene);
        float* const to = image + c * count_rays(*scene);
        for_tiles(*scene, 0, [&](const Tile& tile) { kernels().siddon_ahead(*scene, tile, skip_first, channel, to); });
    }
    return 0;
}

// Integrals (n_views, rows, columns) of the attenuation of whole HU (D, H, W), of which water has `water_per_mm`.
NERP_API int nerp_siddon_hu(const NerpScene* scene, const int16_t* hu, float water_per_mm, float* image) {
    for_tiles(*scene, 0, [&](const Tile& tile) { kernels().siddon_hu(*scene, tile, hu, water_per_mm, image); });
    return 0;
}

// Adds the gradient of all channels to `gradient` (n_channels, D, H, W).
NERP_API int nerp_siddon_to_volume(const NerpScene* scene, int n_channels, const float* grad_image, float* gradient) {
    prefer_huge_pages(gradient, n_channels * count_voxels(*scene) * sizeof(float));
    for (int c = 0; c < n_channels; ++c)
        siddon_to_volume(*scene, grad_image + c * count_rays(*scene), gradient + c * count_voxels(*scene));
    return 0;
}

// Adds the gradients of all channels to `to`.
NERP_API int nerp_siddon_to_rays(const NerpScene* scene, int n_channels, const float* values, const float* grad_image,
                                 const NerpRayGradient* to) {
    for (int c = 0; c < n_channels; ++c) {
        const float* const channel = values + c * count_voxels(*scene);
        const float* const weights = grad_image + c * count_rays(*scene);
        for_tiles(*scene, 0, [&](const Tile& tile) { kernels().siddon_to_rays(*scene, tile, channel, weights, *to); });
    }
    return 0;
}

template <typename Value, typename Kernel>
static int label_lengths(const NerpScene& scene, int n_maps, const Value* maps, const NerpLabels& labels,
                         float* lengths, Kernel kernel) {
    prefer_huge_pages(lengths, count_rays(scene) * labels.n_channels * sizeof(float));
    for (int m = 0; m < n_maps; ++m) {
        const Value* const map = maps + m * count_voxels(scene);
        for_tiles(scene, 0, [&](const Tile& tile) { kernel(scene, tile, map, labels, lengths); });
    }
    return 0;
}

// Adds path lengths in mm to `lengths` (n_views, labels->n_channels, rows, columns).
NERP_API int nerp_label_lengths(const NerpScene* scene, int n_maps, const float* maps, const NerpLabels* labels,
                                float* lengths) {
    return label_lengths(*scene, n_maps, maps, *labels, lengths, kernels().label_lengths);
}

// The same of labels below 256, a byte each.
NERP_API int nerp_byte_label_lengths(const NerpScene* scene, int n_maps, const uint8_t* maps, const NerpLabels* labels,
                                     float* lengths) {
    return label_lengths(*scene, n_maps, maps, *labels, lengths, kernels().byte_label_lengths);
}
