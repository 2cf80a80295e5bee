// The march over a batch: interleaves the fields, shares tiles among threads, folds gradients back.
#include <cstring>
#include <vector>

#include "machine.h"

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

static void add_row(const float* from, size_t n, float* to) {
    for (size_t i = 0; i < n; ++i) to[i] += from[i];
}

static void split_row(float* sum, int width, float* matter, float* opacity) {
    sum[2] += sum[0], sum[3] += sum[1];
    sum[2 * width] += sum[2 * width + 2], sum[2 * width + 1] += sum[2 * width + 3];
    for (int w = 0; w < width; ++w) {
        matter[w] = sum[2 * w + 2];
        opacity[w] = sum[2 * w + 3];
    }
}

// Sums the threads' padded gradients, always in the same order, into two dense ones.
static void unpack(const NerpScene& scene, const float* gradients, int n_gradients, float* matter, float* opacity) {
    const PaddedGrid grid(scene);
    const int depth = scene.shape[0], height = scene.shape[1], width = scene.shape[2];
#pragma omp parallel for num_threads(scene.threads) if (scene.threads > 1) schedule(static)
    for (int d = 0; d < depth; ++d) {
        std::vector<float> sum(grid.row_floats());
        const Replicas deep(d, depth);
        for (int h = 0; h < height; ++h) {
            std::fill(sum.begin(), sum.end(), 0.0f);
            const Replicas high(h, height);
            for (int n = 0; n < n_gradients; ++n)
                for (int i = deep.first; i <= deep.last; ++i)
                    for (int j = high.first; j <= high.last; ++j) {
                        const size_t row = (size_t(n) * grid.depth + i) * grid.height + j;
                        add_row(gradients + row * grid.row_floats(), grid.row_floats(), sum.data());
                    }
            const size_t to = (size_t(d) * height + h) * width;
            split_row(sum.data(), width, matter + to, opacity + to);
        }
    }
}

static void march_volume(const NerpScene& scene, const NerpMarch& march, int volume, const float* fields,
                         float* image) {
    const Tiling tiles(scene, volume);
#pragma omp parallel for num_threads(scene.threads) if (scene.threads > 1) schedule(dynamic, 1)
    for (int i = 0; i < tiles.count(); ++i) kernels().march(scene, tiles[i], march, fields, image);
}

// Tiles are dealt out in turn, never by who is free, so that the sums repeat bit for bit. Returns the
// number of gradients written, which is the number of threads that came.
static int march_volume_backward(const NerpScene& scene, const NerpMarch& march, int volume, const float* fields,
                                 const NerpMarchGradient& to, float* gradients, float* scratch) {
    const Tiling tiles(scene, volume);
    const size_t floats = gradients ? PaddedGrid(scene).floats() : 0;
    const size_t scratch_floats = size_t(march.n_samples) * kernels().lanes;
    int came = 1;
#pragma omp parallel num_threads(scene.threads) if (scene.threads > 1)
    {
        const int thread = thread_number(), team = team_size();
        float* const gradient = gradients ? gradients + thread * floats : nullptr;
        if (gradient) std::memset(gradient, 0, floats * sizeof(float));
        for (int i = thread; i < tiles.count(); i += team)
            kernels().march_backward(scene, tiles[i], march, fields, to, gradient, scratch + thread * scratch_floats);
        if (thread == 0) came = team;
    }
    return came;
}

}  // namespace nerp

using namespace nerp;

// Each returns 0, or 1 when memory ran out.
NERP_API int nerp_march(const NerpScene* scene, const NerpMarch* march, float* image) {
    try {
        Workspace fields(PaddedGrid(*scene).floats());
        const size_t voxels = size_t(scene->shape[0]) * scene->shape[1] * scene->shape[2];
        for (int volume = 0; volume < scene->n_volumes; ++volume) {
            pack(*scene, march->matter + volume * voxels, march->opacity + volume * voxels, fields.data());
            march_volume(*scene, *march, volume, fields.data(), image);
        }
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

NERP_API int nerp_march_backward(const NerpScene* scene, const NerpMarch* march, const NerpMarchGradient* to) {
    try {
        const size_t padded = PaddedGrid(*scene).floats();
        Workspace fields(padded), gradients(to->grad_matter ? padded * scene->threads : 0);
        Workspace scratch(march->per_sample ? size_t(march->n_samples) * kernels().lanes * scene->threads : 0);
        const size_t voxels = size_t(scene->shape[0]) * scene->shape[1] * scene->shape[2];
        if (to->grad_matter) {
            prefer_huge_pages(to->grad_matter, scene->n_volumes * voxels * sizeof(float));
            prefer_huge_pages(to->grad_opacity, scene->n_volumes * voxels * sizeof(float));
        }
        float* const sums = to->grad_matter ? gradients.data() : nullptr;
        for (int volume = 0; volume < scene->n_volumes; ++volume) {
            const size_t at = volume * voxels;
            pack(*scene, march->matter + at, march->opacity + at, fields.data());
            const int n = march_volume_backward(*scene, *march, volume, fields.data(), *to, sums, scratch.data());
            if (sums) unpack(*scene, sums, n, to->grad_matter + at, to->grad_opacity + at);
        }
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
