// Exact integrals and label lengths over a batch of views, and the gradients of the former.
#include <cstring>

#include "machine.h"
#include "workspace.h"

namespace nerp {

static size_t count_voxels(const NerpScene& s) { return size_t(s.shape[0]) * s.shape[1] * s.shape[2]; }
static size_t count_rays(const NerpScene& s) { return size_t(s.n_views) * s.rows * s.columns; }

// Calls visit(tile) for all tiles of all views, whoever is free; for results that tiles do not share.
template <typename Visit>
static void for_tiles(const NerpScene& scene, Visit visit) {
    const Tiling tiles(scene, 0);
#pragma omp parallel for num_threads(scene.threads) if (scene.threads > 1) schedule(dynamic, 1)
    for (int i = 0; i < tiles.count(); ++i) visit(tiles[i]);
}

static void add_to(float* sum, const float* more, size_t n, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (size_t i = 0; i < n; ++i) sum[i] += more[i];
}

// One gradient volume a thread, the result being the first one's. Tiles are dealt out in turn, never
// by who is free, and summed in the same order, so that the result repeats bit for bit.
static void siddon_to_volume(const NerpScene& scene, const float* grad_image, float* gradient, float* spare) {
    const Tiling tiles(scene, 0);
    const size_t voxels = count_voxels(scene);
    int came = 1;
#pragma omp parallel num_threads(scene.threads) if (scene.threads > 1)
    {
        const int thread = thread_number(), team = team_size();
        float* const own = thread ? spare + (thread - 1) * voxels : gradient;
        std::memset(own, 0, voxels * sizeof(float));
        for (int i = thread; i < tiles.count(); i += team)
            kernels().siddon_to_volume(scene, tiles[i], grad_image, own);
        if (thread == 0) came = team;
    }
    for (int i = 1; i < came; ++i) add_to(gradient, spare + (i - 1) * voxels, voxels, scene.threads);
}

}  // namespace nerp

using namespace nerp;

// Integrals (n_channels, n_views, rows, columns) of values (n_channels, D, H, W).
NERP_API int nerp_siddon(const NerpScene* scene, int n_channels, const float* values, float* image) {
    for (int c = 0; c < n_channels; ++c) {
        const float* const channel = values + c * count_voxels(*scene);
        float* const to = image + c * count_rays(*scene);
        for_tiles(*scene, [&](const Tile& tile) { kernels().siddon(*scene, tile, channel, to); });
    }
    return 0;
}

// The gradient of all channels; returns 1 when memory ran out.
NERP_API int nerp_siddon_to_volume(const NerpScene* scene, int n_channels, const float* grad_image, float* gradient) {
    try {
        prefer_huge_pages(gradient, n_channels * count_voxels(*scene) * sizeof(float));
        Workspace spare(count_voxels(*scene) * (scene->threads - 1));
        for (int c = 0; c < n_channels; ++c)
            siddon_to_volume(*scene, grad_image + c * count_rays(*scene), gradient + c * count_voxels(*scene),
                             spare.data());
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

// Adds the gradients of all channels to `to`.
NERP_API int nerp_siddon_to_rays(const NerpScene* scene, int n_channels, const float* values, const float* grad_image,
                                 const NerpRayGradient* to) {
    for (int c = 0; c < n_channels; ++c) {
        const float* const channel = values + c * count_voxels(*scene);
        const float* const weights = grad_image + c * count_rays(*scene);
        for_tiles(*scene, [&](const Tile& tile) { kernels().siddon_to_rays(*scene, tile, channel, weights, *to); });
    }
    return 0;
}

// Adds path lengths in mm to `lengths` (n_views, rows, columns, labels->n_channels).
NERP_API int nerp_label_lengths(const NerpScene* scene, int n_maps, const float* maps, const NerpLabels* labels,
                                float* lengths) {
    prefer_huge_pages(lengths, count_rays(*scene) * labels->n_channels * sizeof(float));
    for (int m = 0; m < n_maps; ++m) {
        const float* const map = maps + m * count_voxels(*scene);
        for_tiles(*scene, [&](const Tile& tile) { kernels().label_lengths(*scene, tile, map, *labels, lengths); });
    }
    return 0;
}
