// The exact traversal behind siddon and the labels: a packet of rays, slab by slab, without branches.
//
// Each lane is mirrored so that its ray climbs along every axis, and stepped through the slabs of
// its own driving axis, the one it climbs fastest. Within a slab it can cross at most one plane of
// each other axis, so it meets at most three voxels, in an order that one comparison settles
// (Siddon 1985, without the sorting).
#pragma once

#include "rays.h"

namespace nerp {
namespace NERP_ISA {

// One of the two slower axes. Heights t and distances count from where the ray starts, so that however
// near it runs to a plane and however short it is, floats tell the two apart: distance = t slope.
struct MinorAxis {
    Floats slope, per_voxel;  // per_voxel = 1 / slope: height between planes
    Floats limit;             // a distance between the last plane and the face where the grid ends
    Ints stride;              // offset of the next voxel
    Floats plane;             // distance of the next plane to cross
};

// A packet on its way up; `traverse` moves it on.
struct Climb {
    Floats top;         // height at which the slab that comes next ends
    Floats low;         // height reached
    Floats exit;        // height at which the ray ends
    Floats last_top;    // half a voxel below the top of the slab that holds the end
    Ints stride;        // offset of the next slab
    Ints voxel;         // offset of the voxel reached
    MinorAxis minor[2];
    int n_slabs;        // of the longest lane
};

// What a lane meets in one slab: voxel `first` between heights low and cut[early], `middle` between
// the cuts, `last` up to high. Where nothing is crossed, the three are one and the same.
struct Slab {
    Floats low, high;
    Floats cut[2];      // heights at which the minor axes' planes are crossed
    Ints zero_first;    // mask: minor axis 0 is crossed before minor axis 1
    Ints first, middle, last;
    Ints all_three;     // mask: both planes are crossed, so that `last` is not `middle`
    Floats before() const { return minimum(cut[0], cut[1]); }
    Floats after() const { return maximum(cut[0], cut[1]); }
};

// Scalar set-up of one lane.
struct Climber {
    double position[3], speed[3];  // voxels above the mirrored lower face; voxels per mm
    int32_t stride[3];
    int32_t base;
    int axes[3];
};

inline Climber mirror(const NerpScene& scene, const Ray& ray) {
    const int32_t strides[3] = {scene.shape[1] * scene.shape[2], scene.shape[2], 1};
    Climber c{};
    for (int axis = 0; axis < 3; ++axis) {
        const bool down = ray.direction[axis] < 0;
        const double size = scene.shape[axis], at = down ? size - 0.5 - ray.start[axis] : ray.start[axis] + 0.5;
        c.position[axis] = at < 0 ? 0 : at > size ? size : at;
        c.speed[axis] = down ? -ray.direction[axis] : ray.direction[axis];
        c.stride[axis] = down ? -strides[axis] : strides[axis];
        if (down) c.base += (scene.shape[axis] - 1) * strides[axis];
    }
    int fastest = c.speed[1] > c.speed[0] ? 1 : 0;
    if (c.speed[2] > c.speed[fastest]) fastest = 2;
    for (int i = 0; i < 3; ++i) c.axes[i] = (fastest + i) % 3;
    return c;
}

inline int32_t voxel_at(double position, int32_t size) {
    const int32_t voxel = int32_t(position);
    return voxel < size ? voxel : size - 1;
}

// The lanes' numbers while they are being filled in.
struct ClimbLanes {
    alignas(64) float top[lanes], exit[lanes], last_top[lanes];
    alignas(64) float slope[2][lanes], per_voxel[2][lanes], limit[2][lanes], plane[2][lanes];
    alignas(64) int32_t stride[lanes], voxel[lanes], minor_stride[2][lanes];
};

// Returns the number of slabs to climb.
inline int fill_lane(const NerpScene& scene, const Climber& c, double length_mm, int lane, ClimbLanes& to) {
    const int drive = c.axes[0];
    const int32_t slab = voxel_at(c.position[drive], scene.shape[drive]);
    const double entry = c.position[drive] - slab, exit = length_mm * c.speed[drive];
    const int32_t last = voxel_at(entry + exit, scene.shape[drive] - slab);
    to.top[lane] = float(1 - entry), to.exit[lane] = float(exit), to.last_top[lane] = float(last + 0.5 - entry);
    to.stride[lane] = c.stride[drive];
    to.voxel[lane] = c.base + slab * c.stride[drive];
    for (int i = 0; i < 2; ++i) {
        const int axis = c.axes[i + 1];
        const int32_t voxel = voxel_at(c.position[axis], scene.shape[axis]);
        const double slope = c.speed[drive] > 0 ? c.speed[axis] / c.speed[drive] : 0;
        to.voxel[lane] += voxel * c.stride[axis];
        to.minor_stride[i][lane] = c.stride[axis];
        to.slope[i][lane] = float(slope);
        to.per_voxel[i][lane] = float(1 / (slope > 1e-20 ? slope : 1e-20));
        to.limit[i][lane] = float(scene.shape[axis] - 0.5 - c.position[axis]);
        to.plane[i][lane] = float(voxel + 1 < scene.shape[axis] ? voxel + 1 - c.position[axis] : 1);
    }
    return last + 1;
}

inline Climb climb(const NerpScene& scene, int view, const Patch& patch) {
    const PatchRays all(scene, view, patch);
    Climb climb;
    ClimbLanes to;
    climb.n_slabs = 0;
    if (all.guide < 0) return climb;
    for (int lane = 0; lane < lanes; ++lane) {
        const double length_mm = all.rays[lane].hits() ? all.rays[lane].length_mm : 0;
        const int n = fill_lane(scene, mirror(scene, all.path(lane)), length_mm, lane, to);
        climb.n_slabs = n > climb.n_slabs ? n : climb.n_slabs;
    }
    climb.low = broadcast(0.0f), climb.exit = load(to.exit);
    climb.top = load(to.top), climb.last_top = load(to.last_top);
    climb.stride = load(to.stride), climb.voxel = load(to.voxel);
    for (int i = 0; i < 2; ++i) {
        MinorAxis& m = climb.minor[i];
        m.slope = load(to.slope[i]), m.per_voxel = load(to.per_voxel[i]);
        m.limit = load(to.limit[i]), m.plane = load(to.plane[i]), m.stride = load(to.minor_stride[i]);
    }
    return climb;
}

// Height of the axis' next plane, if crossed by `high`; returns the mask of lanes that cross it.
HOT Ints cross(MinorAxis& axis, Floats low, Floats high, Floats* cut) {
    const Ints crossed = minimum(high * axis.slope, axis.limit) >= axis.plane;
    *cut = clamp(axis.plane * axis.per_voxel, low, high);
    axis.plane = axis.plane + (crossed ? broadcast(1.0f) : broadcast(0.0f));
    return crossed;
}

// What a packet will read some slabs on, asked for ahead of time: the traversal reads in too many
// places at once for the processor to foresee. A diagonal of lanes stands for the whole patch.
class Lookahead {
public:
    HOT explicit Lookahead(const Climb& climb) : shift_(slabs_ahead * climb.stride) {
        for (const MinorAxis& axis : climb.minor)
            shift_ += truncate(float(slabs_ahead) * axis.slope) * axis.stride;
    }

    HOT void operator()(const float* base, Ints voxel) const {
        alignas(64) int32_t at[lanes];
        store(at, voxel + shift_);
        for (int lane = 0; lane < lanes; lane += 5) __builtin_prefetch(base + at[lane], 0, 2);
    }

private:
    static constexpr int slabs_ahead = 16;
    Ints shift_;
};

// Walks the packet up by n_slabs, calling visit(slab) for each; lanes that have ended stay in their last
// voxel with nothing left of the path.
template <typename Visit>
HOT void traverse(Climb& climb, int n_slabs, Visit visit) {
    const Ints nowhere = broadcast(0);
    MinorAxis one = climb.minor[0], two = climb.minor[1];  // in registers
    Slab slab;
    slab.low = climb.low;
    slab.first = climb.voxel;
    Floats top = climb.top;
    for (int i = 0; i < n_slabs; ++i) {
        slab.high = minimum(top, climb.exit);
        const Ints crossed_one = cross(one, slab.low, slab.high, &slab.cut[0]);
        const Ints crossed_two = cross(two, slab.low, slab.high, &slab.cut[1]);
        const Ints step_one = crossed_one & one.stride, step_two = crossed_two & two.stride;
        slab.all_three = crossed_one & crossed_two;
        slab.zero_first = slab.cut[0] <= slab.cut[1];
        slab.middle = slab.first + (slab.zero_first ? step_one : step_two);
        slab.last = slab.first + step_one + step_two;
        visit(slab);
        slab.first = slab.last + (top < climb.last_top ? climb.stride : nowhere);
        slab.low = slab.high;
        top += 1.0f;
    }
    climb.minor[0].plane = one.plane, climb.minor[1].plane = two.plane;
    climb.top = top, climb.low = slab.low, climb.voxel = slab.first;
}

}  // namespace NERP_ISA
}  // namespace nerp
