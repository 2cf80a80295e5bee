// The way of one photon through a grid of voxels: which ones, and the optical depth behind each.
#pragma once

#include <vector>

#include "photon.h"

namespace nerp {

// What a grid and its rays have in common; positions are in voxels, with faces at integers.
struct Frame {
    Vector rows[3];
    double offset[3];
    int shape[3], stride[3];
    explicit Frame(const NerpMatter& m) {
        for (int i = 0; i < 3; ++i) {
            rows[i] = vector(m.to_index + 4 * i);
            offset[i] = m.to_index[4 * i + 3] + 0.5;
            shape[i] = m.shape[i];
        }
        stride[2] = 1, stride[1] = shape[2], stride[0] = shape[1] * shape[2];
    }
    // The middle of a voxel, mm.
    Vector middle(int d, int h, int w) const {
        const Vector a = rows[0], b = rows[1], c = rows[2];
        const double size = dot(a, cross(b, c));
        const double x = d + 0.5 - offset[0], y = h + 0.5 - offset[1], z = w + 0.5 - offset[2];
        return (cross(b, c) * x + cross(c, a) * y + cross(a, b) * z) * (1 / size);
    }
    size_t most_steps() const { return size_t(shape[0]) + shape[1] + shape[2] + 4; }
};

class Stroll {
public:
    explicit Stroll(const Frame& frame) : frame_(frame), depths_(frame.most_steps()), ways_(depths_), voxels_(frame.most_steps()) {}

    // Walks from `at` along a direction of length 1 for at most `reach` mm; attenuation(voxel) is in 1/mm.
    template <class Attenuation>
    void walk(Vector at, Vector along, double reach, Attenuation attenuation) {
        n_ = 0, depth_ = 0;
        double enter = 0, leave = reach, next[3], delta[3];
        int left[3], step[3];
        if (!begin(at, along, enter, leave, next, delta, left, step)) return;
        double way = enter;
        const int most = int(depths_.size());
        while (n_ < most) {
            const int axis = next[0] < next[1] ? (next[0] < next[2] ? 0 : 2) : (next[1] < next[2] ? 1 : 2);
            const double to = next[axis] < leave ? next[axis] : leave;
            if (to > way) depth_ += attenuation(voxel_) * (to - way);
            depths_[n_] = depth_, ways_[n_] = to, voxels_[n_] = voxel_, ++n_;
            way = to > way ? to : way;
            if (next[axis] >= leave || --left[axis] < 0) break;
            next[axis] += delta[axis];
            voxel_ += step[axis];
        }
        start_ = enter;
    }

    double depth() const { return depth_; }
    int steps() const { return n_; }
    int voxel(int step) const { return voxels_[step]; }
    double depth_behind(int step) const { return depths_[step]; }

    // The step in which an optical depth is reached.
    int reached(double depth) const {
        int low = 0, high = n_ - 1;
        while (low < high) {
            const int middle = (low + high) / 2;
            if (depths_[middle] < depth) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    // Distance in mm at which it is reached.
    double way(int step, double depth) const {
        const double from = step ? ways_[step - 1] : start_, before = step ? depths_[step - 1] : 0;
        const double within = depths_[step] - before;
        const double part = within > 0 ? (depth - before) / within : 0.5;
        return from + part * (ways_[step] - from);
    }

private:
    bool begin(Vector at, Vector along, double& enter, double& leave, double* next, double* delta, int* left, int* step) {
        double place[3], speed[3];
        for (int i = 0; i < 3; ++i) {
            place[i] = dot(frame_.rows[i], at) + frame_.offset[i];
            speed[i] = dot(frame_.rows[i], along);
            if (std::fabs(speed[i]) < 1e-12) {
                if (place[i] < 0 || place[i] >= frame_.shape[i]) return false;
                continue;
            }
            const double a = -place[i] / speed[i], b = (frame_.shape[i] - place[i]) / speed[i];
            enter = std::max(enter, std::min(a, b)), leave = std::min(leave, std::max(a, b));
        }
        if (!(enter < leave)) return false;
        voxel_ = 0;
        for (int i = 0; i < 3; ++i) {
            const double here = place[i] + speed[i] * enter;
            const int last = frame_.shape[i] - 1, index = here <= 0 ? 0 : here >= last ? last : int(here);
            voxel_ += index * frame_.stride[i];
            const bool still = std::fabs(speed[i]) < 1e-12, up = speed[i] > 0;
            next[i] = still ? HUGE_VAL : ((up ? index + 1 : index) - place[i]) / speed[i];
            delta[i] = still ? 0 : 1 / std::fabs(speed[i]);
            step[i] = up ? frame_.stride[i] : -frame_.stride[i];
            left[i] = up ? last - index : index;
        }
        return true;
    }

    const Frame& frame_;
    std::vector<double> depths_, ways_;
    std::vector<int> voxels_;
    int n_ = 0, voxel_ = 0;
    double depth_ = 0, start_ = 0;
};

}  // namespace nerp
