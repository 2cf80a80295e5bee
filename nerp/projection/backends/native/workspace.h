// Memory and threads of one call.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nerp {

// A buffer freed with its scope. Large ones ask for huge pages: marching visits a new page every few
// samples, and the kernel would otherwise spend its time on address translation.
class Workspace {
public:
    explicit Workspace(size_t n_floats) {
        constexpr size_t page = size_t(2) << 20;
        const size_t bytes = (n_floats * sizeof(float) + page - 1) / page * page;
        data_ = static_cast<float*>(std::aligned_alloc(page, bytes ? bytes : page));
        if (!data_) throw std::bad_alloc();
#if defined(__linux__)
        madvise(data_, bytes, MADV_HUGEPAGE);
#endif
    }
    ~Workspace() { std::free(data_); }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    float* data() { return data_; }

private:
    float* data_;
};

inline int thread_number() {
#if defined(_OPENMP)
    return omp_get_thread_num();
#else
    return 0;
#endif
}

inline int team_size() {
#if defined(_OPENMP)
    return omp_get_num_threads();
#else
    return 1;
#endif
}

}  // namespace nerp
