// A pool that hands out numbered tasks. The caller works too and takes every task that nobody has claimed, so a worker
// that is asleep, or has lost its core, never holds the caller up. Survives fork: the child starts its own workers.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace steep {

int num_threads();
void set_num_threads(int n);  // throws std::invalid_argument unless 1 <= n <= 1024

using Task = void (*)(const void* context, int64_t index);
/// Runs task(context, 0), …, task(context, n - 1), in any order, on up to num_threads() threads. Nested and concurrent
/// calls run serially. The first exception that a task throws is rethrown here.
void run_tasks(int64_t n, Task task, const void* context);

template <class F>
void parallel_for(int64_t n, const F& f) {
  run_tasks(n, [](const void* context, int64_t i) { (*static_cast<const F*>(context))(i); }, &f);
}

/// f(begin, end) over [0, n), serially below two grains. How the range is cut depends on the number of threads, so f
/// must give each element the same value in any piece.
template <class F>
void parallel_range(int64_t n, int64_t grain, const F& f) {
  const int64_t pieces = std::min<int64_t>(num_threads(), n / grain);
  if (pieces < 2) {
    if (n > 0) f(int64_t(0), n);
    return;
  }
  // Long ranges are cut at multiples of 64: no cache line is shared, and vector loops stay aligned.
  const int64_t multiple = n / pieces >= 1024 ? 64 : 1,
                step = ((n + pieces - 1) / pieces + multiple - 1) / multiple * multiple;
  parallel_for(pieces, [&](int64_t i) {
    const int64_t begin = std::min(n, i * step), end = std::min(n, begin + step);
    if (begin < end) f(begin, end);
  });
}

}  // namespace steep
