// Which rays travel together, and where their numbers lie.
#pragma once

#include "simd.h"
#include "tiles.h"

namespace nerp {
namespace NERP_ISA {

// The pixels of a packet's lanes: rows of `wide` lanes, `apart` pixels from one lane to the next.
// Rays of a compact patch share cache lines. Rays that add to a gradient are better kept apart, since
// a processor waits when it reads again what it has only just written.
struct Patch {
    int row, column;          // of the first lane
    int wide, apart;
    int end_row, end_column;  // lanes from here on are empty
};

// Patches of neighbours, `wide` of them in a row where the tile has as many.
template <typename Visit>
inline void for_patches(const Tile& tile, int wide, Visit visit) {
    if (tile.rows == 1) wide = lanes;
    if (tile.columns < wide && tile.rows > 1) wide = 1;
    const int high = lanes / wide;
    for (int row = 0; row < tile.rows; row += high)
        for (int column = 0; column < tile.columns; column += wide)
            visit(Patch{tile.row + row, tile.column + column, wide, 1, tile.row + tile.rows,
                        tile.column + tile.columns});
}

template <typename Visit>
inline void for_compact_patches(const Tile& tile, Visit visit) {
    for_patches(tile, 4, visit);
}

// Two lines of lanes along the tile, where neighbours read what lies side by side.
template <typename Visit>
inline void for_long_patches(const Tile& tile, Visit visit) {
    for_patches(tile, tile.rows > tile.columns ? 2 : lanes / 2, visit);
}

template <typename Visit>
inline void for_scattered_patches(const Tile& tile, Visit visit) {
    const bool tall = tile.rows > tile.columns;
    const int along = tall ? tile.rows : tile.columns, across = tall ? tile.columns : tile.rows;
    const int apart = (along + lanes - 1) / lanes;
    for (int i = 0; i < across; ++i)
        for (int j = 0; j < apart; ++j)
            visit(Patch{tile.row + (tall ? j : i), tile.column + (tall ? i : j), tall ? 1 : lanes, apart,
                        tile.row + tile.rows, tile.column + tile.columns});
}

// One ray, inside the volume from its start on. A lane beyond the detector, or whose ray misses,
// has length 0.
struct Ray {
    int64_t number;  // among all rays of the batch; -1 beyond the detector
    double start[3], direction[3], length_mm;
    bool hits() const { return length_mm > 0; }  // false for NaN as well
};

inline int64_t number_of_lane(const NerpScene& scene, int view, const Patch& patch, int lane) {
    const int row = patch.row + lane / patch.wide * patch.apart;
    const int column = patch.column + lane % patch.wide * patch.apart;
    if (row >= patch.end_row || column >= patch.end_column) return -1;
    return (int64_t(view) * scene.rows + row) * scene.columns + column;
}

inline Ray ray_of_lane(const NerpScene& scene, int view, const Patch& patch, int lane) {
    Ray ray{number_of_lane(scene, view, patch, lane), {}, {}, 0};
    if (ray.number < 0) return ray;
    ray.length_mm = scene.length_mm[ray.number];
    for (int axis = 0; axis < 3; ++axis) {
        const double start = scene.start[3 * ray.number + axis], speed = scene.direction[3 * ray.number + axis];
        const double end = start + ray.length_mm * speed, low = -0.51, high = scene.shape[axis] - 0.49;
        // Whatever the caller sends, nothing outside the volume is ever read; NaN fails here too.
        if (!(start > low && start < high && end > low && end < high)) ray.length_mm = 0;
        ray.start[axis] = start;
        ray.direction[axis] = speed;
    }
    return ray;
}

// The rays of a patch. A lane whose ray misses follows another's path, at no weight: that way even
// the zeros that it adds to a gradient stay among the voxels of its own patch.
struct PatchRays {
    Ray rays[lanes];
    int guide = -1;  // a lane that hits; -1 where none does

    PatchRays(const NerpScene& scene, int view, const Patch& patch) {
        for (int lane = 0; lane < lanes; ++lane) {
            rays[lane] = ray_of_lane(scene, view, patch, lane);
            if (rays[lane].hits()) guide = lane;
        }
    }

    const Ray& path(int lane) const { return rays[rays[lane].hits() ? lane : guide]; }
};

}  // namespace NERP_ISA
}  // namespace nerp
