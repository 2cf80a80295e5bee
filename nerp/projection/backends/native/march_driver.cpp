// The march over a batch: interleaves the fields, shares tiles among threads, folds gradients back.
#include <vector>

#include "machine.h"
#include "strips.h"
#include "workspace.h"

namespace nerp {

// The padded, interleaved grid of trilinear.h.
struct PaddedGrid {
    int depth, height, width;
    explicit PaddedGrid(const NerpScene& s) : depth(s.shape[0] + 2), height(s.shape[1] + 2), width(s.shape[2] + 2) {}
    size_t row_floats() const { return size_t(2) * width; }
    size_t floats() const { return row_floats() * height * depth; }
};

static int clamp_index(int i, int n) { return i < 0 ? 0 : i < n ? i : n - 1; }

static void pack_row(const float* matter, const float* opacity, int width, float* to) {
    for (int w = 0; w < width; ++w) {
        to[2 * w + 2] = matter[w];
        to[2 * w + 3] = opacity[w];
    }
    to[0] = matter[0], to[1] = opacity[0];
    to[2 * width + 2] = matter[width - 1], to[2 * width + 3] = opacity[width - 1];
}

static void pack(const NerpScene& scene, const float* matter, const float* opacity, float* fields) {
    const PaddedGrid grid(scene);
    const int depth = scene.shape[0], height = scene.shape[1], width = scene.shape[2];
#pragma omp parallel for num_threads(scene.threads) if (scene.threads > 1) schedule(static)
    for (int d = 0; d < grid.depth; ++d)
        for (int h = 0; h < grid.height; ++h) {
            const size_t from = (size_t(clamp_index(d - 1, depth)) * height + clamp_index(h - 1, height)) * width;
            float* const to = fields + (size_t(d) * grid.height + h) * grid.row_floats();
            pack_row(matter + from, opacity + from, width, to);
        }
}

// Padded rows that stand for row i of n: itself, and the replicas before the first and after the last.
struct Replicas {
    int first, last;
    Replicas(int i, int n) : first(i == 0 ? 0 : i + 1), last(i == n - 1 ? n + 1 : i + 1) {}
};

static void add_row(const float* from, std::vector<float>& sum) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += from[i];
}

static void split_row(float* sum, int width, float* matter, float* opacity) {
    sum[2] += sum[0], sum[3] += sum[1];
    sum[2 * width] += sum[2 * width + 2], sum[2 * width + 1] += sum[2 * width + 3];
    for (int w = 0; w < width; ++w) {
        matter[w] = sum[2 * w + 2];
        opacity[w] = sum[2 * w + 3];
    }
}

// Folds the padded gradient into two dense ones: replicas count for the voxels that they repeat.
static void unpack(const NerpScene& scene, const float* gradient, float* matter, float* opacity) {
    const PaddedGrid grid(scene);
    const int depth = scene.shape[0], height = scene.shape[1], width = scene.shape[2];
#pragma omp parallel for num_threads(scene.threads) if (scene.threads > 1) schedule(static)
    for (int d = 0; d < depth; ++d) {
        std::vector<float> sum(grid.row_floats());
        const Replicas deep(d, depth);
        for (int h = 0; h < height; ++h) {
            std::fill(sum.begin(), sum.end(), 0.0f);
            const Replicas high(h, height);
            for (int i = deep.first; i <= deep.last; ++i)
                for (int j = high.first; j <= high.last; ++j)
                    add_row(gradient + (size_t(i) * grid.height + j) * grid.row_floats(), sum);
            const size_t to = (size_t(d) * height + h) * width;
            split_row(sum.data(), width, matter + to, opacity + to);
        }
    }
}

// Samples this far apart touch different voxels: twice the diagonal of a voxel, and some.
constexpr double voxels_apart = 3.5;

static void march_volume_backward(const NerpScene& scene, const NerpMarch& march, int volume, const float* fields,
                                  const NerpMarchGradient& to, float* gradient) {
    const size_t own = march.per_sample ? size_t(march.n_samples) * kernels().lanes : 0;
    Workspace scratch(own * scene.threads);
    const auto visit = [&](const Tile& tile) {
        kernels().march_backward(scene, tile, march, fields, to, gradient, scratch.data() + own * thread_number());
    };
    if (gradient) {
        clear(gradient, PaddedGrid(scene).floats(), scene.threads);
        for_tiles_apart(scene, volume, voxels_apart, visit);
    } else {
        for_tiles(scene, volume, visit);
    }
}

}  // namespace nerp

using namespace nerp;

// Each returns 0, or 1 when memory ran out.
NERP_API int nerp_march(const NerpScene* scene, const NerpMarch* march, float* image) {
    try {
        Workspace fields(PaddedGrid(*scene).floats());
        for (int volume = 0; volume < scene->n_volumes; ++volume) {
            const size_t at = volume * count_voxels(*scene);
            pack(*scene, march->matter + at, march->opacity + at, fields.data());
            for_tiles(*scene, volume, [&](const Tile& tile) {
                kernels().march(*scene, tile, *march, fields.data(), image);
            });
        }
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

NERP_API int nerp_march_backward(const NerpScene* scene, const NerpMarch* march, const NerpMarchGradient* to) {
    try {
        const size_t padded = PaddedGrid(*scene).floats(), bytes = count_voxels(*scene) * sizeof(float);
        Workspace fields(padded), gradient(to->grad_matter ? padded : 0);
        if (to->grad_matter) prefer_huge_pages(to->grad_matter, scene->n_volumes * bytes);
        if (to->grad_opacity) prefer_huge_pages(to->grad_opacity, scene->n_volumes * bytes);
        for (int volume = 0; volume < scene->n_volumes; ++volume) {
            const size_t at = volume * count_voxels(*scene);
            pack(*scene, march->matter + at, march->opacity + at, fields.data());
            float* const sums = to->grad_matter ? gradient.data() : nullptr;
            march_volume_backward(*scene, *march, volume, fields.data(), *to, sums);
            if (sums) unpack(*scene, sums, to->grad_matter + at, to->grad_opacity + at);
        }
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
