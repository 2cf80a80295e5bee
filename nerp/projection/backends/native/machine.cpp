// Which instruction set this machine runs: chosen once, at load, from the processor's own word.
#include "machine.h"

#include <cstring>

namespace nerp {

static bool runs(const char* name) {
#if defined(NERP_X86)
    if (!std::strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && runs("avx2");
    if (!std::strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return !std::strcmp(name, "baseline");
}

static const Kernels* const all_kernels[] = {
#if defined(NERP_X86)
    &avx512_kernels,
    &avx2_kernels,
#endif
    &baseline_kernels,
};

static const Kernels* best() {
    for (const Kernels* kernels : all_kernels)
        if (runs(kernels->name)) return kernels;
    return &baseline_kernels;
}

static const Kernels* chosen = best();

const Kernels& kernels() { return *chosen; }

}  // namespace nerp

NERP_API int nerp_abi() { return NERP_ABI; }

NERP_API const char* nerp_isa() { return nerp::chosen->name; }

// Takes the kernels of this name from now on; 0 where the machine cannot run them.
NERP_API int nerp_choose_isa(const char* name) {
    for (const nerp::Kernels* kernels : nerp::all_kernels)
        if (!std::strcmp(name, kernels->name) && nerp::runs(name)) {
            nerp::chosen = kernels;
            return 1;
        }
    return 0;
}
