// Where photons start, where they are detected, and what a grid lets through.
#pragma once

#include <algorithm>
#include <vector>

#include "photon.h"

namespace nerp {

struct Photon {
    Vector at, along;
    double kev;
};

// The detector's plane; `normal` points away from the source.
struct Plane {
    Vector centre, right, down, normal;
    explicit Plane(const NerpRadiation& r)
        : centre(vector(r.centre)), right(vector(r.right)), down(vector(r.down)), normal(unit(cross(right, down))) {
        const Vector inwards = r.parallel ? vector(r.source) : centre - vector(r.source);
        if (dot(inwards, normal) < 0) normal = normal * -1;
    }
    // Distance along a direction; infinite for one that leads away.
    double distance(Vector at, Vector along) const {
        const double slope = dot(along, normal);
        return slope > 1e-12 ? dot(centre - at, normal) / slope : HUGE_VAL;
    }
};

inline double between(double low, double high, double u) { return low + (high - low) * u; }

// The point of the field's rectangle that belongs to two numbers from 0 to 1.
inline Vector field_point(const NerpRadiation& r, const Plane& plane, double u, double v) {
    return plane.centre + plane.down * between(r.field[0], r.field[1], u) + plane.right * between(r.field[2], r.field[3], v);
}

// Photons per area of the detector's plane, relative to the foot of the perpendicular.
inline double openness(const NerpRadiation& r, const Plane& plane, Vector point) {
    if (r.parallel) return 1;
    const Vector ray = point - vector(r.source);
    const double cosine = dot(plane.centre - vector(r.source), plane.normal) / std::sqrt(dot(ray, ray));
    return cosine * cosine * cosine;
}

// Start and direction of the ray to a point of the detector; a parallel ray starts `away` before it.
inline Photon towards(const NerpRadiation& r, Vector point, double away) {
    if (r.parallel) return {point - vector(r.source) * away, vector(r.source), 0};
    return {vector(r.source), unit(point - vector(r.source)), 0};
}

inline int draw_line(const NerpRadiation& r, double u) {
    const double* const end = r.line_cumulative + r.n_lines;
    return std::min<int>(std::upper_bound(r.line_cumulative, end, u) - r.line_cumulative, r.n_lines - 1);
}

// What part of photons of this direction and energy a grid lets through, averaged over where they meet its strips.
// Source: the path in lead is piecewise linear in the place of entry; the mean of its exponential in closed form.
inline double straight_through(const NerpStrips& g, const Plane& plane, Vector along, double aside_mm, const Energy& energy) {
    const double forwards = dot(along, plane.normal);
    if (forwards <= 1e-9) return 0;
    const double slope = dot(along, plane.right) / forwards - (g.focus_mm > 0 ? aside_mm / g.focus_mm : 0);
    const double aside = g.height_mm * std::fabs(slope), length = g.height_mm / forwards;
    const double lead = energy.in(g.lead), other = energy.in(g.interspace), gap = g.pitch_mm - g.lead_mm;
    const double more = (lead - other) * length;  // of the exponent where all of the path is lead
    if (aside < 1e-6 * g.pitch_mm)
        return std::exp(-other * length) * (gap + g.lead_mm * std::exp(-more)) / g.pitch_mm;
    const double periods = std::floor(aside / g.pitch_mm), rest = aside - periods * g.pitch_mm;
    const double least = std::max(0.0, rest - gap), most = std::min(rest, g.lead_mm), rate = more / aside;
    const double low = std::exp(-rate * least), high = std::exp(-rate * most);
    const double ramps = rate * (most - least) > 1e-9 ? (low - high) / rate : most - least;
    const double mean = (std::fabs(g.lead_mm - rest) * high + std::fabs(gap - rest) * low + 2 * ramps) / g.pitch_mm;
    return mean * std::exp(-rate * g.lead_mm * periods - other * length);
}

inline double through(const NerpStrips& g, const Plane& plane, Vector along, double aside_mm, const Energy& energy) {
    const double straight = straight_through(g, plane, along, aside_mm, energy);
    return straight + energy.in(g.glow) * (1 - straight);
}

// Counts, energy and response of one kind, on the raster.
class Raster {
public:
    Raster(const NerpRadiation& r, double* sums) : r_(r), sums_(sums), size_(size_t(r.rows) * r.columns) {}

    // The pixel of a point of the plane, -1 outside.
    int64_t pixel(const Plane& plane, Vector point) const {
        const Vector offset = point - plane.centre;
        const double row = (dot(offset, plane.down) / r_.size[0] + 0.5) * r_.rows;
        const double column = (dot(offset, plane.right) / r_.size[1] + 0.5) * r_.columns;
        if (!(row >= 0 && row < r_.rows && column >= 0 && column < r_.columns)) return -1;
        return int64_t(row) * r_.columns + int64_t(column);
    }

    void add(int kind, int64_t pixel, double weight, const Energy& energy) {
        double* const to = sums_ + kind * 3 * size_ + pixel;
        to[0] += weight;
        to[size_] += weight * energy.kev;
        to[2 * size_] += weight * energy.in(r_.response);
    }

private:
    const NerpRadiation& r_;
    double* sums_;
    size_t size_;
};

// Shares photons among a fixed number of parts, whose sums are added up in a fixed order.
constexpr int n_parts = 32;

template <class Visit>
void for_parts(const NerpTally& tally, size_t n_sums, double* sums, Visit visit) {
    std::vector<double> own(n_sums * n_parts, 0.0);
#pragma omp parallel for num_threads(tally.threads) if (tally.threads > 1) schedule(dynamic, 1)
    for (int part = 0; part < n_parts; ++part) {
        const int64_t first = tally.n_photons * part / n_parts, last = tally.n_photons * (part + 1) / n_parts;
        visit(first, last, own.data() + n_sums * part);
    }
    for (int part = 0; part < n_parts; ++part)
        for (size_t i = 0; i < n_sums; ++i) sums[i] += own[n_sums * part + i];
}

}  // namespace nerp
