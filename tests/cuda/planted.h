// What programs of kernels with errors share: numbers, arrays of the driver's, and the choice of one by its name.
#pragma once
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "cuda/launch.cuh"

namespace steep::planted {

using namespace steep::cuda;

inline constexpr int kThreads = 128;

inline std::vector<float> numbers(int n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) x[size_t(i)] = float(i % 37 + 1);
  return x;
}

/// Device memory straight from the driver, so that each array has its own guards.
template <class T>
struct Array {
  T* p = nullptr;
  size_t n;
  explicit Array(size_t n) : n(n) { check("malloc", cudaMalloc(&p, n * sizeof(T))); }
  explicit Array(const std::vector<T>& x) : Array(x.size()) { copy_to_device(p, x.data(), n * sizeof(T)); }
  ~Array() { cudaFree(p); }
  std::vector<T> host() const {
    std::vector<T> x(n);
    copy_to_host(x.data(), p, n * sizeof(T));
    return x;
  }
};

struct Program {
  bool (*with_bug)();
  bool (*fixed)();
};
#define PROGRAM(name)                  \
  {                                    \
    #name, { name<true>, name<false> } \
  }

/// PROGRAM [fixed]: prints and returns 0 if the result is right, 1 if it is wrong, 2 if the device reported an error.
inline int run(const std::map<std::string, Program>& programs, int count, char** arguments) {
  if (count < 2 || !programs.contains(arguments[1])) {
    for (const auto& [name, program] : programs) std::printf("%s\n", name.c_str());
    return 3;
  }
  const Program& program = programs.at(arguments[1]);
  try {
    const bool right = count > 2 && !std::strcmp(arguments[2], "fixed") ? program.fixed() : program.with_bug();
    synchronize(0);
    std::printf("the result is %s\n", right ? "right" : "wrong");
    return right ? 0 : 1;
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 2;
  }
}

}  // namespace steep::planted
