// Random numbers, vectors, and what happens to a photon where it meets an atom.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "task.h"

namespace nerp {

constexpr double pi = 3.14159265358979323846;
constexpr double electron_kev = 510.99895;
constexpr double kev_angstrom = 12.398420;
constexpr double energy_steps_per_kev = 2;
constexpr double root_transfer_step = 0.02;
constexpr double lowest_kev = 5;  // photons below this are taken to be absorbed where they are

// A stream of its own for each photon, so that results do not depend on who computes it.
// Source: SplitMix64, Steele, Lea & Flood 2014.
class Random {
public:
    Random(uint64_t seed, uint64_t photon) : state_(mix(mix(seed) + photon)) {}
    double next() { return (mix(state_ += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53; }

private:
    static uint64_t mix(uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    uint64_t state_;
};

struct Vector {
    double x, y, z;
};

inline Vector vector(const double* v) { return {v[0], v[1], v[2]}; }
inline Vector operator+(Vector a, Vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vector operator-(Vector a, Vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vector operator*(Vector a, double s) { return {a.x * s, a.y * s, a.z * s}; }
inline double dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline Vector unit(Vector a) { return a * (1 / std::sqrt(dot(a, a))); }

// `d` turned by an angle of this cosine, about itself by `azimuth`.
inline Vector turned(Vector d, double cosine, double azimuth) {
    const Vector side = unit(std::fabs(d.z) < 0.8 ? cross(d, {0, 0, 1}) : cross(d, {1, 0, 0}));
    const double sine = std::sqrt(std::max(0.0, 1 - cosine * cosine));
    return unit(d * cosine + side * (sine * std::cos(azimuth)) + cross(d, side) * (sine * std::sin(azimuth)));
}

// Where an energy lies between two steps of the tables.
struct Energy {
    double kev, rest;
    int step;
    Energy(double kev, int n) : kev(kev) {
        const double at = kev * energy_steps_per_kev;
        step = at < n - 2 ? int(at) : n - 2;
        rest = at - step;
    }
    double in(const double* row) const { return row[step] + rest * (row[step + 1] - row[step]); }
};

// Energy left over after Compton scattering, as a fraction.
inline double energy_kept(double kev, double cosine) { return 1 / (1 + kev / electron_kev * (1 - cosine)); }

// Klein and Nishina's differential cross-section in units of the electron's radius squared.
inline double klein_nishina(double kev, double cosine) {
    const double kept = energy_kept(kev, cosine);
    return 0.5 * kept * kept * (kept + 1 / kept - 1 + cosine * cosine);
}

// Cosine of a Compton angle of a free electron.
// Source: Butcher & Messel 1960, as in the Geant4 physics reference manual, "Compton scattering".
inline double draw_klein_nishina(double kev, Random& random) {
    const double least = 1 / (1 + 2 * kev / electron_kev);
    const double first = -std::log(least), second = 0.5 * (1 - least * least);
    for (int i = 0; i < 1000; ++i) {
        const bool in_first = random.next() * (first + second) < first;
        const double u = random.next();
        const double kept = in_first ? std::exp(-u * first) : std::sqrt(least * least + (1 - least * least) * u);
        const double t = electron_kev * (1 - kept) / (kev * kept);
        if (random.next() < 1 - kept * t * (2 - t) / (1 + kept * kept)) return 1 - t;
    }
    return 1;
}

inline double transfer(double kev, double cosine) {
    return std::sqrt(std::max(0.0, 0.5 * (1 - cosine))) * kev / kev_angstrom;
}

// How much of the electrons of a material take part at this angle, 0 to 1.
inline double bound(const NerpMatter& matter, int material, double kev, double cosine) {
    const double at = std::sqrt(transfer(kev, cosine)) / root_transfer_step;
    const double* const row = matter.binding + size_t(material) * matter.n_transfers;
    if (at >= matter.n_transfers - 1) return row[matter.n_transfers - 1];
    const int i = int(at);
    return row[i] + (at - i) * (row[i + 1] - row[i]);
}

inline double draw_incoherent(const NerpMatter& matter, int material, double kev, Random& random) {
    for (int i = 0; i < 1000; ++i) {
        const double cosine = draw_klein_nishina(kev, random);
        if (random.next() < bound(matter, material, kev, cosine)) return cosine;
    }
    return -1;
}

inline double node_squared(int i) {
    const double x = i * i * (root_transfer_step * root_transfer_step);
    return x * x;
}

// The integral of F2 from 0 to x, over x squared.
inline double form_integral(const NerpMatter& matter, const double* row, double x) {
    const int last = matter.n_transfers - 2;
    const double at = std::sqrt(x) / root_transfer_step;
    const int i = at < last ? int(at) : last;
    const double below = node_squared(i);
    return row[i] + (x * x - below) / (node_squared(i + 1) - below) * (row[i + 1] - row[i]);
}

inline int last_not_above(const double* row, int n, double value) {
    int low = 0, high = n - 1;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        (row[middle] <= value ? low : high) = middle;
    }
    return low;
}

// Cosine of a Rayleigh angle: x squared by the form factor, the rest by rejection.
inline double draw_coherent(const NerpMatter& matter, int material, double kev, Random& random) {
    const double* const row = matter.form_cumulative + size_t(material) * matter.n_transfers;
    const double most = kev / kev_angstrom;
    const double whole = form_integral(matter, row, most);
    for (int i = 0; i < 1000; ++i) {
        const double wanted = random.next() * whole;
        const int cell = last_not_above(row, matter.n_transfers, wanted);
        const double width = row[cell + 1] - row[cell], below = node_squared(cell);
        const double part = width > 0 ? (wanted - row[cell]) / width : 0;
        const double squared = below + part * (node_squared(cell + 1) - below);
        const double cosine = std::max(-1.0, 1 - 2 * squared / (most * most));
        if (random.next() < 0.5 * (1 + cosine * cosine)) return cosine;
    }
    return 1;
}

// Densities of both kinds of scattering over all directions, 1/sr.
inline double incoherent_density(const NerpMatter& matter, int material, const Energy& energy, double cosine) {
    const double norm = energy.in(matter.incoherent_norm + size_t(material) * matter.n_energies);
    return klein_nishina(energy.kev, cosine) * bound(matter, material, energy.kev, cosine) / norm;
}

inline double coherent_density(const NerpMatter& matter, int material, const Energy& energy, double cosine) {
    const double* const row = matter.form_cumulative + size_t(material) * matter.n_transfers;
    const double at = std::sqrt(transfer(energy.kev, cosine)) / root_transfer_step;
    const int i = at < matter.n_transfers - 2 ? int(at) : matter.n_transfers - 2;
    const double form = (row[i + 1] - row[i]) / (node_squared(i + 1) - node_squared(i));
    return form * 0.5 * (1 + cosine * cosine) / energy.in(matter.coherent_norm + size_t(material) * matter.n_energies);
}

// One of the ways in which a photon meets a material; the others absorb it.
struct Meeting {
    int material = -1;
    bool is_coherent = false;
};

// Attenuation of a voxel, 1/mm.
inline double attenuation(const NerpMatter& matter, const float* density, const Energy& energy) {
    double sum = 0;
    for (int m = 0; m < matter.n_materials; ++m)
        if (density[m] > 0) sum += density[m] * energy.in(matter.total + size_t(m) * matter.n_energies);
    return sum;
}

// What a photon meets, where `left` (1/mm) is drawn evenly from 0 to the attenuation of the voxel.
inline Meeting meet(const NerpMatter& matter, const float* density, const Energy& energy, double left) {
    for (int m = 0; m < matter.n_materials; ++m) {
        if (!(density[m] > 0)) continue;
        const size_t row = size_t(m) * matter.n_energies;
        if ((left -= density[m] * energy.in(matter.incoherent + row)) < 0) return {m, false};
        if ((left -= density[m] * energy.in(matter.coherent + row)) < 0) return {m, true};
    }
    return {};
}

inline double draw_cosine(const NerpMatter& matter, Meeting how, double kev, Random& random) {
    return how.is_coherent ? draw_coherent(matter, how.material, kev, random)
                           : draw_incoherent(matter, how.material, kev, random);
}

}  // namespace nerp
