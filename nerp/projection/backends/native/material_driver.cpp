// Areal densities of materials over a batch of views, and mean densities of blocks of voxels.
#include <cstring>
#include <memory>

#include "machine.h"
#include "workspace.h"

namespace nerp {

typedef float Densities __attribute__((vector_size(4 * most_materials)));

static Densities load_densities(const float* from) {
    Densities v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

// The densities of `n` voxels in a row, summed. Nothing of the table beyond its end is read, whatever the codes.
static Densities sum_row(const float* codes, int n, const NerpMaterials& materials) {
    Densities sum = {};
    for (int i = 0; i < n; ++i) {
        const float slot_of = codes[i] * (1.0f / codes_per_slot);
        if (!(slot_of >= 0 && slot_of < materials.n_slots)) continue;
        const int slot = int(slot_of);
        const float code = codes[i] - float(slot * codes_per_slot);
        const int below = code < material_knots - 2 ? int(code) : material_knots - 2;
        const float* const row = materials.densities + (slot * material_knots + below) * most_materials;
        const float above = code - below;
        sum += load_densities(row) * (1 - above) + load_densities(row + most_materials) * above;
    }
    return sum;
}

static int blocks_along(const NerpBlocks& b, int axis) { return (b.shape[axis] + b.factor[axis] - 1) / b.factor[axis]; }

// Adds one row of voxels to the sums of its blocks, most_materials of each.
static void add_row(const NerpBlocks& b, const float* codes, const NerpMaterials& materials, float* sums) {
    for (int w = 0; w < b.shape[2]; w += b.factor[2], sums += most_materials) {
        const int left = b.shape[2] - w, n = left < b.factor[2] ? left : b.factor[2];
        const Densities sum = load_densities(sums) + sum_row(codes + w, n, materials);
        std::memcpy(sums, &sum, sizeof sum);
    }
}

// One layer of blocks; `sums` has room for it.
static void mean_layer(const NerpBlocks& b, int layer, const float* codes, const NerpMaterials& materials, float* sums,
                       float* means) {
    const int64_t deep = blocks_along(b, 0), high = blocks_along(b, 1), wide = blocks_along(b, 2);
    const int end = (layer + 1) * b.factor[0] < b.shape[0] ? (layer + 1) * b.factor[0] : b.shape[0];
    std::memset(sums, 0, sizeof(float) * high * wide * most_materials);
    for (int d = layer * b.factor[0]; d < end; ++d)
        for (int h = 0; h < b.shape[1]; ++h)
            add_row(b, codes + (int64_t(d) * b.shape[1] + h) * b.shape[2], materials,
                    sums + h / b.factor[1] * wide * most_materials);
    const float share = 1.0f / (float(b.factor[0]) * b.factor[1] * b.factor[2]);
    for (int m = 0; m < materials.n_materials; ++m)
        for (int64_t i = 0; i < high * wide; ++i)
            means[(m * deep + layer) * high * wide + i] = share * sums[i * most_materials + m];
}

}  // namespace nerp

using namespace nerp;

// Writes (n_materials, blocks along d, h, w), of codes (D, H, W). Returns 0, or 1 when memory ran out.
NERP_API int nerp_mean_densities(const NerpBlocks* blocks, const float* codes, const NerpMaterials* materials,
                                 float* means) {
    try {
        const size_t own = size_t(blocks_along(*blocks, 1)) * blocks_along(*blocks, 2) * most_materials;
        Workspace sums(own * blocks->threads);
#pragma omp parallel for num_threads(blocks->threads) if (blocks->threads > 1) schedule(dynamic, 1)
        for (int layer = 0; layer < blocks_along(*blocks, 0); ++layer)
            mean_layer(*blocks, layer, codes, *materials, sums.data() + own * thread_number(), means);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

// Writes (n_views, n_groups, n_materials, rows, columns) over zeros, of codes (D, H, W). Returns 0, or 1 when
// memory ran out.
NERP_API int nerp_materials(const NerpScene* scene, const float* codes, const NerpMaterials* materials, float* image) {
    const size_t images = size_t(materials->n_groups) * materials->n_materials;
    const size_t own = size_t(materials->n_groups) * tile_pixels * most_materials;
    prefer_huge_pages(image, count_rays(*scene) * images * sizeof(float));
    try {
        Workspace blocks(own * scene->threads);
        const std::unique_ptr<bool[]> touched(new bool[size_t(materials->n_groups) * scene->threads]);
        for_tiles(*scene, 0, [&](const Tile& tile) {
            const int thread = thread_number();
            kernels().materials(*scene, tile, codes, *materials, blocks.data() + own * thread,
                                touched.get() + size_t(materials->n_groups) * thread, image);
        });
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
