// How the views of one volume are cut into tiles, the units of work that threads share.
#pragma once

#include <cstddef>

#include "task.h"

namespace nerp {

constexpr int tile_pixels = 1024;

inline size_t count_voxels(const NerpScene& s) { return size_t(s.shape[0]) * s.shape[1] * s.shape[2]; }
inline size_t count_rays(const NerpScene& s) { return size_t(s.n_views) * s.rows * s.columns; }

// A rectangle of pixels of one view.
struct Tile {
    int view;
    int row, column;    // first pixel
    int rows, columns;  // already cut at the detector's edge
};

// Which way a tile is long: along the image axis that follows the volume's contiguous axis, so that
// its rays read whole cache lines and few pages.
struct TileShape {
    int rows, columns;
};

inline double change_along_w(const NerpScene& scene, int view, int64_t step) {
    const int64_t pixels = int64_t(scene.rows) * scene.columns;
    const double* const middle = scene.direction + 3 * (view * pixels + scene.rows / 2 * scene.columns + scene.columns / 2);
    const double change = middle[2] - middle[2 - 3 * step];
    return change < 0 ? -change : change;
}

inline TileShape shape_tiles(const NerpScene& scene, int view) {
    if (scene.rows == 1) return {1, tile_pixels};
    if (scene.columns == 1) return {tile_pixels, 1};
    const bool tall = change_along_w(scene, view, scene.columns) > change_along_w(scene, view, 1);
    return tall ? TileShape{128, 8} : TileShape{8, 128};
}

class Tiling {
public:
    // The tiles of the views of volume `volume`, all of one shape.
    Tiling(const NerpScene& scene, int volume)
        : scene_(scene), views_(scene.n_views / scene.n_volumes), first_view_(volume * views_) {
        if (count_pixels() == 0) return;
        shape_ = shape_tiles(scene, first_view_);
        down_ = (scene.rows + shape_.rows - 1) / shape_.rows;
        across_ = (scene.columns + shape_.columns - 1) / shape_.columns;
    }

    int count() const { return views_ * down_ * across_; }

    Tile operator[](int i) const {
        const int row = i / across_ % down_ * shape_.rows, column = i % across_ * shape_.columns;
        const int rows = scene_.rows - row < shape_.rows ? scene_.rows - row : shape_.rows;
        const int columns = scene_.columns - column < shape_.columns ? scene_.columns - column : shape_.columns;
        return Tile{first_view_ + i / (down_ * across_), row, column, rows, columns};
    }

private:
    int64_t count_pixels() const { return int64_t(views_) * scene_.rows * scene_.columns; }

    const NerpScene& scene_;
    int views_, first_view_;
    TileShape shape_{1, 1};
    int down_ = 0, across_ = 0;
};

// Calls visit(tile) for all tiles of the views of a volume; for results that tiles do not share.
template <typename Visit>
void for_tiles(const NerpScene& scene, int volume, Visit visit) {
    const Tiling tiles(scene, volume);
#pragma omp parallel for num_threads(scene.threads) if (scene.threads > 1) schedule(dynamic, 1)
    for (int i = 0; i < tiles.count(); ++i) visit(tiles[i]);
}

}  // namespace nerp
