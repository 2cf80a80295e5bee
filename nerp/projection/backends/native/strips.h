// How threads share the work where rays write to the volume.
//
// An image is cut into strips of whole columns (or rows). Rays of two strips with a third between
// them stay some voxels apart, so that they never write to the same voxel: all even strips can be
// worked on at once, and then all odd ones. Every voxel is written to in the same order whatever the
// number of threads, which makes the result the same bit for bit, and there is but one gradient.
#pragma once

#include <cmath>

#include "tiles.h"

namespace nerp {

class Strips {
public:
    // Strips of view `view` that stay `voxels` apart; a single one where no cut achieves it, as with
    // a source inside the volume. Takes images for those of a point source on a flat detector.
    Strips(const NerpScene& scene, int view, double voxels) : scene_(scene), view_(view), shape_(shape_tiles(scene, view)) {
        tall_ = shape_.rows > shape_.columns;
        lines_ = tall_ ? scene.columns : scene.rows;
        along_ = tall_ ? scene.rows : scene.columns;
        const int narrowest = tall_ ? shape_.columns : shape_.rows;
        for (width_ = narrowest; width_ < lines_ && !apart(voxels); width_ *= 2) continue;
    }

    int count() const { return (lines_ + width_ - 1) / width_; }

    // Calls visit(tile) for the tiles of a strip, in order.
    template <typename Visit>
    void for_tiles(int strip, Visit visit) const {
        const int end = least((strip + 1) * width_, lines_);
        const int wide = tall_ ? shape_.columns : shape_.rows, step = tall_ ? shape_.rows : shape_.columns;
        for (int line = strip * width_; line < end; line += wide)
            for (int k = 0; k < along_; k += step) {
                const int across = least(wide, end - line), length = least(step, along_ - k);
                visit(tall_ ? Tile{view_, k, line, length, across} : Tile{view_, line, k, across, length});
            }
    }

private:
    static int least(int a, int b) { return a < b ? a : b; }

    int64_t ray(int line, int k) const {
        const int row = tall_ ? k : line, column = tall_ ? line : k;
        return (int64_t(view_) * scene_.rows + row) * scene_.columns + column;
    }

    bool apart(double voxels) const {
        for (int strip = 0; (strip + 2) * width_ < lines_; ++strip)
            if (!beyond((strip + 1) * width_ - 1, (strip + 2) * width_, voxels)) return false;
        return true;
    }

    // Whether the first rays to hit from line `far` on lie entirely beyond the plane of line `near`.
    bool beyond(int near, int far, double voxels) const {
        const double* const first = scene_.direction + 3 * ray(near, 0);
        const double* const last = scene_.direction + 3 * ray(near, along_ - 1);
        double normal[3];
        for (int i = 0; i < 3; ++i)
            normal[i] = first[(i + 1) % 3] * last[(i + 2) % 3] - first[(i + 2) % 3] * last[(i + 1) % 3];
        const double size = std::sqrt(dot(normal, normal));
        if (!(size > 0)) return false;
        const double level = dot(normal, scene_.start + 3 * ray(near, 0));
        for (int line = far; line < lines_; ++line) {
            int hits = 0, sides = 0;
            for (int k = 0; k < along_; ++k) {
                const int64_t at = ray(line, k);
                if (!(scene_.length_mm[at] > 0)) continue;
                const double start = (dot(normal, scene_.start + 3 * at) - level) / size;
                const double end = start + scene_.length_mm[at] * dot(normal, scene_.direction + 3 * at) / size;
                if (std::fmin(std::fabs(start), std::fabs(end)) < voxels || start * end < 0) return false;
                sides += start > 0 ? 1 : -1;
                ++hits;
            }
            if (hits) return sides == hits || sides == -hits;
        }
        return true;
    }

    static double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

    const NerpScene& scene_;
    int view_;
    TileShape shape_;
    bool tall_;
    int lines_, along_;  // strips are made of lines; a line has `along` pixels
    int width_;          // lines of a strip
};

// Calls visit(tile) for all tiles of the views of a volume, such that no two calls at once come
// within `voxels` of each other.
template <typename Visit>
void for_tiles_apart(const NerpScene& scene, int volume, double voxels, Visit visit) {
    const int n_views = scene.n_views / scene.n_volumes;
    for (int view = volume * n_views; view < (volume + 1) * n_views; ++view) {
        const Strips strips(scene, view, voxels);
        for (int parity = 0; parity < 2; ++parity) {
#pragma omp parallel for num_threads(scene.threads) if (scene.threads > 1) schedule(dynamic, 1)
            for (int strip = parity; strip < strips.count(); strip += 2) strips.for_tiles(strip, visit);
        }
    }
}

}  // namespace nerp
