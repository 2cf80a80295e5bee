// Rays of a batch of cameras, and the gradients of the cameras.
#include <cstddef>
#include <new>
#include <vector>

#include "machine.h"

using namespace nerp;

// Writes starts, directions and lengths to `to`.
NERP_API int nerp_cast_rays(const NerpCamera* camera, const NerpRayGradient* to) {
    const int rows = camera->n_views * camera->rows;
#pragma omp parallel for num_threads(camera->threads) if (camera->threads > 1 && rows > 1) schedule(static)
    for (int i = 0; i < rows; ++i) kernels().cast_row(*camera, i / camera->rows, i % camera->rows, *to);
    return 0;
}

// Gradients (n_views, 4, 3) of source, centre, right and down; rows are summed in their order.
NERP_API int nerp_cast_rays_backward(const NerpCamera* camera, const NerpRayGradient* from, double* gradient) {
    const int rows = camera->n_views * camera->rows;
    try {
        std::vector<double> parts(std::size_t(rows) * 12);
#pragma omp parallel for num_threads(camera->threads) if (camera->threads > 1 && rows > 1) schedule(static)
        for (int i = 0; i < rows; ++i)
            kernels().cast_row_backward(*camera, i / camera->rows, i % camera->rows, *from, &parts[12 * std::size_t(i)]);
        for (int i = 0; i < rows; ++i)
            for (int k = 0; k < 12; ++k) gradient[12 * (i / camera->rows) + k] += parts[12 * std::size_t(i) + k];
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
