// Where the samples of a packet lie: positions in fixed point, 32 bits of fraction.
//
// A float leaves 17 bits to the fraction at voxel 100. That is enough for an image; but the slopes
// of trilinear fields jump from cell to cell, and gradients of a camera, sums of slopes that nearly
// cancel, would feel every sample that falls to the wrong side. Whole numbers add up without error.
#pragma once

#include "trilinear.h"

namespace nerp {
namespace NERP_ISA {

class Stepper {
public:
    // Lanes start at `first` and move by `step`, in padded voxel coordinates [axis][lane].
    Stepper(const Padded& grid, const double (*first)[lanes], const double (*step)[lanes])
        : stride_{grid.stride_d, grid.stride_h, 2}, at_{}, at_step_{} {
        for (int axis = 0; axis < 3; ++axis) {
            alignas(64) int32_t cell[lanes], cell_step[lanes];
            alignas(64) uint32_t fraction[lanes], fraction_step[lanes];
            for (int lane = 0; lane < lanes; ++lane) {
                split(first[axis][lane], &cell[lane], &fraction[lane]);
                split(step[axis][lane], &cell_step[lane], &fraction_step[lane]);
            }
            at_ += load(cell) * stride_[axis];
            at_step_ += load(cell_step) * stride_[axis];
            std::memcpy(&fraction_[axis], fraction, sizeof fraction);
            std::memcpy(&step_[axis], fraction_step, sizeof fraction_step);
        }
    }

    HOT Cells cells() const {
        Cells cells;
        store(cells.at, at_);
        keep_in_memory(cells.at);
        cells.d = as_float(fraction_[0]), cells.h = as_float(fraction_[1]), cells.w = as_float(fraction_[2]);
        return cells;
    }

    HOT void next() {
        at_ += at_step_;
        for (int axis = 0; axis < 3; ++axis) {
            fraction_[axis] += step_[axis];
            const Ints carried = fraction_[axis] < step_[axis];
            at_ += carried & stride_[axis];
        }
    }

private:
    typedef uint32_t Fractions __attribute__((vector_size(4 * lanes)));

    static void split(double position, int32_t* whole, uint32_t* fraction) {
        const double floor = __builtin_floor(position);
        const double parts = (position - floor) * 4294967296.0;
        *whole = int32_t(floor);
        *fraction = parts < 4294967295.0 ? uint32_t(parts) : 4294967295u;
    }

    // The leading 23 bits become a mantissa, 1 to 2.
    HOT static Floats as_float(Fractions f) { return (Floats)((f >> 9) | 0x3f800000u) - 1.0f; }

    int32_t stride_[3];             // floats to the next cell along each axis
    Ints at_, at_step_;             // of the cell's first corner, and its change less carries
    Fractions fraction_[3], step_[3];
};

}  // namespace NERP_ISA
}  // namespace nerp
