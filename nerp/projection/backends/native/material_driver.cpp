// Areal densities of materials over a batch of views.
#include <memory>

#include "machine.h"
#include "workspace.h"

using namespace nerp;

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
