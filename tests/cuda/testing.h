// The least that tests of kernels need: cases, checks, arrays on the device. A program prints what fails and returns 1;
// its arguments, if any, are the names of the cases to run.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cuda/runtime.h"
#include "cuda/table.h"

namespace steep::testing {

struct Case {
  const char* name;
  void (*run)();
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int& failures() {
  static int count = 0;
  return count;
}
struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

/// TEST(softmax_of_long_rows) { … }
#define TEST(name)                                                             \
  static void test_##name();                                                   \
  static const ::steep::testing::Register register_##name(#name, test_##name); \
  static void test_##name()

inline void fail(const char* file, int line, const std::string& what) {
  if (++failures() <= 50) std::printf("%s:%d: %s\n", file, line, what.c_str());
}
#define CHECK(condition) \
  if (!(condition)) ::steep::testing::fail(__FILE__, __LINE__, #condition)

/// Bytes are booleans in these tests.
template <class T>
constexpr DType dtype = std::is_same_v<T, uint8_t> ? DType::boolean : dtype_of<T>();

/// An array of device memory that begins `shift` elements behind an aligned address.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n, size_t shift = 0)
      : n_(n), base_(static_cast<T*>(cuda::allocate((n + shift + 1) * sizeof(T)))), data_(base_ + shift) {}
  explicit DeviceArray(const std::vector<T>& host, size_t shift = 0) : DeviceArray(host.size(), shift) {
    if (n_) cuda::copy_to_device(data_, host.data(), n_ * sizeof(T));
  }
  DeviceArray(const DeviceArray&) = delete;
  ~DeviceArray() { cuda::deallocate(base_); }
  T* data() const { return data_; }
  size_t size() const { return n_; }
  std::vector<T> host() const {
    std::vector<T> out(n_);
    if (n_) cuda::copy_to_host(out.data(), data_, n_ * sizeof(T));
    return out;
  }

 private:
  size_t n_;
  T *base_, *data_;
};

/// Normally distributed numbers, the same in every run.
template <class T>
std::vector<T> random_normal(size_t n, unsigned seed, double scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<T> out(n);
  for (T& x : out) x = T(normal(generator));
  return out;
}
inline std::vector<int64_t> random_integers(size_t n, int64_t low, int64_t high, unsigned seed) {
  std::mt19937_64 generator(seed);
  std::vector<int64_t> out(n);
  for (int64_t& x : out) x = std::uniform_int_distribution<int64_t>(low, high - 1)(generator);
  return out;
}

/// |got - expected| ≤ relative·|expected| + absolute for every element; NaN and infinities must be in the same places.
template <class T, class E>
void check_close(const char* file, int line, const char* name, const std::vector<T>& got,
                 const std::vector<E>& expected, double relative, double absolute) {
  if (got.size() != expected.size())
    return fail(file, line,
                std::string(name) + ": " + std::to_string(got.size()) + " elements, expected " +
                    std::to_string(expected.size()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double g = double(got[i]), e = double(expected[i]);
    if (std::isnan(e) ? std::isnan(g) : g == e || std::abs(g - e) <= relative * std::abs(e) + absolute) continue;
    char text[200];
    std::snprintf(text, sizeof text, "%s[%zu] is %.17g, expected %.17g", name, i, g, e);
    return fail(file, line, text);
  }
}
#define CHECK_CLOSE(got, expected, relative, absolute) \
  ::steep::testing::check_close(__FILE__, __LINE__, #got, got, expected, relative, absolute)

/// Equal bits.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(T)));
}

inline int run(int count, char** names) {
  if (!cuda::device_count()) {
    std::printf("no device: %s\n", cuda::unavailable_reason().c_str());
    return 2;
  }
  int ran = 0;
  for (const Case& c : cases()) {
    bool wanted = count < 2;
    for (int i = 1; i < count; ++i) wanted |= std::string(names[i]) == c.name;
    if (!wanted) continue;
    const int before = failures();
    try {
      c.run();
      cuda::synchronize(0);
    } catch (const std::exception& e) {
      fail(c.name, 0, e.what());
    }
    std::printf("%s %s\n", failures() == before ? "ok  " : "FAIL", c.name);
    ++ran;
  }
  if (!ran) std::printf("no case of that name\n");
  return failures() || !ran;
}

}  // namespace steep::testing

int main(int count, char** names) { return steep::testing::run(count, names); }
