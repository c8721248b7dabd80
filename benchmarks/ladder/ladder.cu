// The rungs as a library that Python loads by ctypes (run.py).
#include <stdexcept>
#include <string>
#include <vector>

#include "rungs.h"

namespace steep::cuda::ladder {
namespace {

/// A rung of any ladder. `sizes` are rows, columns (and depth) or a number of elements; `data` its inputs, then its
/// result, then working memory.
struct AnyRung {
  const char *group, *name;
  void (*run)(const AnyRung&, const int64_t* sizes, void* const* data);
  const void* rung;
};

template <class Problem>
Problem problem(const int64_t* sizes, void* const* data);
template <>
Matmul problem(const int64_t* sizes, void* const* data) {
  return {static_cast<float*>(data[0]),
          static_cast<float*>(data[1]),
          static_cast<float*>(data[2]),
          int(sizes[0]),
          int(sizes[1]),
          int(sizes[2])};
}
template <>
MatmulBf16 problem(const int64_t* sizes, void* const* data) {
  return {static_cast<bfloat16*>(data[0]),
          static_cast<bfloat16*>(data[1]),
          static_cast<bfloat16*>(data[2]),
          int(sizes[0]),
          int(sizes[1]),
          int(sizes[2])};
}
template <>
Softmax problem(const int64_t* sizes, void* const* data) {
  return {static_cast<float*>(data[0]), static_cast<float*>(data[1]), int(sizes[0]), int(sizes[1])};
}
template <>
Relu problem(const int64_t* sizes, void* const* data) {
  return {static_cast<float*>(data[0]), static_cast<float*>(data[1]), sizes[0]};
}
template <>
Sum problem(const int64_t* sizes, void* const* data) {
  return {static_cast<float*>(data[0]), static_cast<float*>(data[1]), static_cast<float*>(data[2]), sizes[0]};
}

template <class Problem, size_t n>
void add(std::vector<AnyRung>& all, const char* group, const Rung<Problem> (&rungs)[n]) {
  for (const Rung<Problem>& rung : rungs)
    all.push_back({group, rung.name,
                   [](const AnyRung& any, const int64_t* sizes, void* const* data) {
                     const auto& rung = *static_cast<const Rung<Problem>*>(any.rung);
                     if (rung.longest && sizes[1] > rung.longest())
                       throw std::invalid_argument("takes rows of at most " + std::to_string(rung.longest()));
                     rung.run(problem<Problem>(sizes, data));
                   },
                   &rung});
}

const std::vector<AnyRung>& rungs() {
  static const std::vector<AnyRung> all = [] {
    std::vector<AnyRung> rungs;
    add(rungs, "simt", kSimt);
    add(rungs, "mma", kBf16Mma);
    add(rungs, "wgmma", kBf16Wgmma);
    add(rungs, "relu", kRelu);
    add(rungs, "sum", kSum);
    add(rungs, "softmax", kSoftmax);
    return rungs;
  }();
  return all;
}

/// What went wrong in f, null if nothing.
template <class F>
const char* message_of(F f) {
  thread_local std::string message;
  try {
    f();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}

}  // namespace
}  // namespace steep::cuda::ladder

using namespace steep::cuda;
using namespace steep::cuda::ladder;

extern "C" {
int ladder_count() { return int(rungs().size()); }
const char* ladder_group(int rung) { return rungs()[size_t(rung)].group; }
const char* ladder_name(int rung) { return rungs()[size_t(rung)].name; }

// These give null, or what went wrong.
const char* ladder_run(int rung, const int64_t* sizes, void* const* data) {
  return message_of([&] { rungs()[size_t(rung)].run(rungs()[size_t(rung)], sizes, data); });
}
const char* ladder_allocate(size_t bytes, void** p) {
  return message_of([&] { *p = allocate(bytes); });
}
const char* ladder_to_device(void* to, const void* from, size_t bytes) {
  return message_of([&] { copy_to_device(to, from, bytes); });
}
const char* ladder_to_host(void* to, const void* from, size_t bytes) {
  return message_of([&] { copy_to_host(to, from, bytes); });
}
const char* ladder_copy(void* to, const void* from, size_t bytes) {
  return message_of(
      [&] { check("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, current_stream())); });
}
const char* ladder_synchronize() {
  return message_of([] { check("synchronize", cudaStreamSynchronize(current_stream())); });
}
void ladder_free(void* p) { deallocate(p); }
}
