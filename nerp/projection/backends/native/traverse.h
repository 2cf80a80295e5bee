// The exact traversal behind siddon and the labels: a packet of rays, voxel by voxel, without branches.
//
// Each lane is mirrored so that its ray climbs along every axis. For each axis it knows the height of
// the next plane to cross; the lowest of the three ends the voxel (Siddon 1985; the stepping is that of
// Amanatides and Woo 1987). Heights are mm along the ray, 0 in its middle, where floats are finest.
#pragma once

#include "rays.h"

namespace nerp {
namespace NERP_ISA {

// The planes of one axis. Plane i of `n` is crossed at first + i apart: a sum of steps would drift. The
// plane after the next one is worked out ahead of time: waiting for it would take half the time.
struct Planes {
    Floats first, apart, n;     // mm, mm, how many
    Ints stride;                // offset of the next voxel
    Floats number;              // of the plane after the next one
    Floats next, after_next;    // heights

    HOT Floats height(Floats i) const { return i < n ? first + i * apart : broadcast(__builtin_inff()); }

    HOT void begin() {
        number = broadcast(1.0f);
        next = height(broadcast(0.0f)), after_next = height(number);
    }

    HOT void cross(Ints crossed) {
        next = crossed ? after_next : next;
        number += crossed ? broadcast(1.0f) : broadcast(0.0f);
        after_next = height(number);
    }

    HOT void keep(const Planes& later) { number = later.number, next = later.next, after_next = later.after_next; }
};

// A packet on its way up; `traverse` moves it on.
struct Climb {
    Floats low = {}, exit = {};  // height reached, and the end of the ray
    Ints voxel;                  // offset of the voxel reached
    Ints entered[3];             // masks: it was entered across a plane of this axis; none for the ray's first
    Ints ahead;                  // from a voxel to the one some way on
    Planes planes[3];
    int n_steps = 0;             // of the longest lane; 0 where all rays miss
};

// One lane's ray as it climbs.
struct Climber {
    double position[3], speed[3];  // voxels above the mirrored lower face; voxels per mm
    int32_t stride[3];
    int32_t base;
};

inline Climber mirror(const NerpScene& scene, const Ray& ray) {
    const int32_t strides[3] = {scene.shape[1] * scene.shape[2], scene.shape[2], 1};
    Climber c{};
    for (int axis = 0; axis < 3; ++axis) {
        const bool down = ray.direction[axis] < 0;
        c.position[axis] = down ? scene.shape[axis] - 0.5 - ray.start[axis] : ray.start[axis] + 0.5;
        c.speed[axis] = down ? -ray.direction[axis] : ray.direction[axis];
        c.stride[axis] = down ? -strides[axis] : strides[axis];
        if (down) c.base += (scene.shape[axis] - 1) * strides[axis];
    }
    return c;
}

inline int32_t voxel_at(double position, int32_t size) {
    return position < 0 ? 0 : position < size ? int32_t(position) : size - 1;
}

// The lanes' numbers while they are being filled in.
struct ClimbLanes {
    alignas(64) float exit[lanes], first[3][lanes], apart[3][lanes], n[3][lanes];
    alignas(64) int32_t voxel[lanes], ahead[lanes], stride[3][lanes];
};

constexpr int voxels_ahead = 16;

// Returns the number of planes that the lane will cross.
inline int fill_lane(const NerpScene& scene, const Climber& c, double length_mm, int lane, ClimbLanes& to) {
    int n_planes = 0;
    double fastest = 0;
    for (double speed : c.speed) fastest = speed > fastest ? speed : fastest;
    to.exit[lane] = float(length_mm / 2);
    to.voxel[lane] = c.base, to.ahead[lane] = 0;
    for (int axis = 0; axis < 3; ++axis) {
        const int32_t size = scene.shape[axis], begin = voxel_at(c.position[axis], size);
        const int32_t end = voxel_at(c.position[axis] + length_mm * c.speed[axis], size);
        const double apart = end > begin ? 1 / c.speed[axis] : 0;
        to.voxel[lane] += begin * c.stride[axis];
        if (fastest > 0) to.ahead[lane] += int32_t(voxels_ahead * c.speed[axis] / fastest) * c.stride[axis];
        to.stride[axis][lane] = c.stride[axis];
        to.first[axis][lane] = float((begin + 1 - c.position[axis]) * apart - length_mm / 2);
        to.apart[axis][lane] = float(apart);
        to.n[axis][lane] = float(end - begin);
        n_planes += end - begin;
    }
    return n_planes;
}

inline Climb climb(const NerpScene& scene, int view, const Patch& patch) {
    const PatchRays all(scene, view, patch);
    Climb climb;
    ClimbLanes to;
    if (all.guide < 0) return climb;
    for (int lane = 0; lane < lanes; ++lane) {
        const double length_mm = all.rays[lane].hits() ? all.rays[lane].length_mm : 0;
        const int n_planes = fill_lane(scene, mirror(scene, all.path(lane)), length_mm, lane, to);
        climb.n_steps = n_planes < climb.n_steps ? climb.n_steps : n_planes + 1;
    }
    climb.exit = load(to.exit), climb.low = -climb.exit;
    climb.voxel = load(to.voxel), climb.ahead = load(to.ahead);
    for (int axis = 0; axis < 3; ++axis) {
        climb.entered[axis] = broadcast(0);
        Planes& planes = climb.planes[axis];
        planes.first = load(to.first[axis]), planes.apart = load(to.apart[axis]), planes.n = load(to.n[axis]);
        planes.stride = load(to.stride[axis]);
        planes.begin();
    }
    return climb;
}

// Asks for what the packet will read some way on: the traversal reads in too many places at once for the
// processor to foresee. A few lanes from both lines of a patch stand for all of it.
template <typename Value>
HOT void ask_for(const Value* base, Ints voxel) {
    alignas(64) int32_t at[lanes];
    store(at, voxel);
    for (int lane = 0; lane < lanes; lane += 5) __builtin_prefetch(base + at[lane], 0, 2);
}

// Where a packet is: in `voxel` between heights `low` and `high`, entered across the planes of these axes.
struct Step {
    Floats low, high;
    Ints voxel;
    Ints entered_d, entered_h, entered_w;
};

HOT Ints cross(Planes& planes, Step& step, Ints waiting) {
    const Ints crossed = (planes.next <= step.high) & ~waiting;
    step.voxel += crossed ? planes.stride : broadcast(0);
    planes.cross(crossed);
    return crossed;
}

// Walks the packet on by n_steps, calling visit(step) for each; `data` is what the visits read or write.
// Lanes that have ended stay in their last voxel with nothing left of the path. (Axes have names here,
// since compilers keep arrays in memory.) Where a lane meets two planes at once it crosses both, or, one by
// one, first the one and then, with nothing left of the path, the other.
template <bool one_by_one = false, typename Value, typename Visit>
HOT void traverse(Climb& climb, int n_steps, const Value* data, Visit visit) {
    const Floats exit = climb.exit;
    const Ints ahead = climb.ahead;
    Planes d = climb.planes[0], h = climb.planes[1], w = climb.planes[2];
    Step step{climb.low, {}, climb.voxel, climb.entered[0], climb.entered[1], climb.entered[2]};
    for (int i = 0; i < n_steps; ++i) {
        step.high = minimum(minimum(d.next, h.next), minimum(w.next, exit));
        ask_for(data, step.voxel + ahead);
        visit(step);
        const Ints none = broadcast(0);
        step.entered_d = cross(d, step, none);
        step.entered_h = cross(h, step, one_by_one ? step.entered_d : none);
        step.entered_w = cross(w, step, one_by_one ? step.entered_d | step.entered_h : none);
        step.low = step.high;
    }
    climb.low = step.low, climb.voxel = step.voxel;
    climb.entered[0] = step.entered_d, climb.entered[1] = step.entered_h, climb.entered[2] = step.entered_w;
    climb.planes[0].keep(d), climb.planes[1].keep(h), climb.planes[2].keep(w);
}

}  // namespace NERP_ISA
}  // namespace nerp
