// Rays of a camera through a grid, a row of pixels at a time, and the way back to the camera.
//
// Plain loops over short arrays of doubles, which compilers turn into vector code by themselves.
#pragma once

#include "simd.h"
#include "task.h"

namespace nerp {
namespace NERP_ISA {

constexpr int run_pixels = 64;  // worked on together

// The axis of the face where a ray enters or leaves; none where it starts or ends inside.
constexpr int32_t no_axis = -1;

// A run of pixels of one row. Offsets are from source to pixel, spans the same in voxels.
struct PixelRun {
    int count;
    double origin[3];  // of the source, voxels
    double column[run_pixels], offset[3][run_pixels], span[3][run_pixels];
    double full_mm[run_pixels], enter[run_pixels], leave[run_pixels];
    int32_t enter_axis[run_pixels], leave_axis[run_pixels];
};

// Steps from the detector's centre.
inline double columns_off(const NerpCamera& camera, int column) { return column - (camera.columns - 1) * 0.5; }

inline double rows_off(const NerpCamera& camera, int row) { return row - (camera.rows - 1) * 0.5; }

inline void aim_run(const NerpCamera& camera, int view, int row, int first, PixelRun& run) {
    const double down = rows_off(camera, row);
    for (int i = 0; i < run.count; ++i) run.column[i] = columns_off(camera, first + i);
    for (int i = 0; i < run.count; ++i) run.full_mm[i] = 0;
    for (int k = 0; k < 3; ++k) {
        const int at = 3 * view + k;
        const double base = camera.centre[at] + down * camera.down[at] - camera.source[at], right = camera.right[at];
        for (int i = 0; i < run.count; ++i) {
            const double offset = base + run.column[i] * right;
            run.offset[k][i] = offset;
            run.full_mm[i] += offset * offset;
        }
    }
    for (int i = 0; i < run.count; ++i) run.full_mm[i] = __builtin_sqrt(run.full_mm[i]);
    for (int k = 0; k < 3; ++k) {
        const double* const m = camera.to_index + 4 * k;
        const double* const s = camera.source + 3 * view;
        run.origin[k] = m[0] * s[0] + m[1] * s[1] + m[2] * s[2] + m[3];
        for (int i = 0; i < run.count; ++i)
            run.span[k][i] = m[0] * run.offset[0][i] + m[1] * run.offset[1][i] + m[2] * run.offset[2][i];
    }
}

// Cuts the rays to the grid's faces: the slab method. A ray that misses gets 0 for both fractions.
inline void clip_run(const NerpCamera& camera, PixelRun& run) {
    constexpr double forever = 1e300;
    for (int i = 0; i < run.count; ++i) run.enter[i] = 0, run.leave[i] = 1;
    for (int i = 0; i < run.count; ++i) run.enter_axis[i] = run.leave_axis[i] = no_axis;
    for (int k = 0; k < 3; ++k) {
        const double low = -0.5 - run.origin[k], high = camera.shape[k] - 0.5 - run.origin[k];
        const double outside = low < 0 && high > 0 ? -forever : forever;
        for (int i = 0; i < run.count; ++i) {
            const double span = run.span[k][i];
            const bool parallel = (span < 0 ? -span : span) < 1e-12;
            const double inverse = 1 / (parallel ? 1 : span);
            const double one = low * inverse, two = high * inverse;
            const double near = parallel ? outside : one < two ? one : two;
            const double far = parallel ? forever : one < two ? two : one;
            run.enter_axis[i] = near > run.enter[i] ? k : run.enter_axis[i];
            run.enter[i] = near > run.enter[i] ? near : run.enter[i];
            run.leave_axis[i] = far < run.leave[i] ? k : run.leave_axis[i];
            run.leave[i] = far < run.leave[i] ? far : run.leave[i];
        }
    }
    for (int i = 0; i < run.count; ++i) {
        const bool hits = run.enter[i] < run.leave[i];
        run.enter[i] = hits ? run.enter[i] : 0;
        run.leave[i] = hits ? run.leave[i] : 0;
        run.enter_axis[i] = hits ? run.enter_axis[i] : no_axis;
        run.leave_axis[i] = hits ? run.leave_axis[i] : no_axis;
    }
}

inline PixelRun run_from(const NerpCamera& camera, int view, int row, int first) {
    PixelRun run;
    run.count = camera.columns - first < run_pixels ? camera.columns - first : run_pixels;
    aim_run(camera, view, row, first, run);
    clip_run(camera, run);
    return run;
}

inline void cast_row(const NerpCamera& camera, int view, int row, const NerpRayGradient& to) {
    for (int first = 0; first < camera.columns; first += run_pixels) {
        const PixelRun run = run_from(camera, view, row, first);
        const int64_t at = (int64_t(view) * camera.rows + row) * camera.columns + first;
        for (int i = 0; i < run.count; ++i) {
            const double per_mm = 1 / run.full_mm[i];
            for (int k = 0; k < 3; ++k) {
                to.start[3 * (at + i) + k] = run.origin[k] + run.enter[i] * run.span[k][i];
                to.direction[3 * (at + i) + k] = run.span[k][i] * per_mm;
            }
            to.length_mm[at + i] = (run.leave[i] - run.enter[i]) * run.full_mm[i];
        }
    }
}

// Gradients of one row, to be summed over rows: source, centre, right, down.
struct CameraSums {
    double parts[4][3];
};

// Of one ray: from gradients of start, direction and length to those of origin and offset.
inline void add_ray(const NerpCamera& camera, const PixelRun& run, int i, const double* start, const double* direction,
                    double length, double down, CameraSums& sums) {
    const double full = run.full_mm[i], enter = run.enter[i], leave = run.leave[i];
    double span[3], origin[3], by_enter = -length * full, by_full = length * (leave - enter);
    for (int k = 0; k < 3; ++k) {
        origin[k] = start[k];
        span[k] = enter * start[k] + direction[k] / full;
        by_enter += start[k] * run.span[k][i];
        by_full -= direction[k] * run.span[k][i] / (full * full);
    }
    const int32_t in = run.enter_axis[i], out = run.leave_axis[i];
    if (in >= 0) origin[in] -= by_enter / run.span[in][i], span[in] -= by_enter * enter / run.span[in][i];
    if (out >= 0) {
        const double by_leave = length * full / run.span[out][i];
        origin[out] -= by_leave, span[out] -= by_leave * leave;
    }
    for (int k = 0; k < 3; ++k) {
        const double* const m = camera.to_index + k;
        const double pixel = m[0] * span[0] + m[4] * span[1] + m[8] * span[2] + by_full * run.offset[k][i] / full;
        sums.parts[0][k] += m[0] * origin[0] + m[4] * origin[1] + m[8] * origin[2] - pixel;
        sums.parts[1][k] += pixel;
        sums.parts[2][k] += pixel * run.column[i];
        sums.parts[3][k] += pixel * down;
    }
}

inline void cast_row_backward(const NerpCamera& camera, int view, int row, const NerpRayGradient& from, double* to) {
    CameraSums sums{};
    const double down = rows_off(camera, row);
    for (int first = 0; first < camera.columns; first += run_pixels) {
        const PixelRun run = run_from(camera, view, row, first);
        const int64_t at = (int64_t(view) * camera.rows + row) * camera.columns + first;
        for (int i = 0; i < run.count; ++i)
            if (run.leave[i] > run.enter[i])
                add_ray(camera, run, i, from.start + 3 * (at + i), from.direction + 3 * (at + i),
                        from.length_mm[at + i], down, sums);
    }
    std::memcpy(to, sums.parts, sizeof sums.parts);
}

}  // namespace NERP_ISA
}  // namespace nerp
