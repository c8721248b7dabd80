// Optimizer steps over many parameters of all sizes, against the formulas in the same type's double or long double.
#include <memory>

#include "testing.h"

namespace steep::cuda {
void fill_optimizer(Table& table);
}

using namespace steep;
using namespace steep::testing;

namespace {

const cuda::Table& table() {
  static const cuda::Table filled = [] {
    cuda::Table t{};
    cuda::fill_optimizer(t);
    return t;
  }();
  return filled;
}

/// A parameter, its gradient and state on both sides.
template <class T>
struct Parameter {
  std::vector<T> p, g, m, v;
  std::vector<long double> p_exact, m_exact, v_exact;
  std::vector<long double> step_size;  // Σ |changes of p|: what errors are relative to
  DeviceArray<T> on_p, on_g, on_m, on_v;
  bool has_state;

  Parameter(int64_t n, size_t shift, bool has_state, unsigned seed)
      : p(random_normal<T>(n, seed)),
        g(random_normal<T>(n, seed + 1)),
        m(n),
        v(n),
        p_exact(p.begin(), p.end()),
        m_exact(n),
        v_exact(n),
        step_size(n),
        on_p(p, shift),
        on_g(g, shift ? 2 : 0),
        on_m(m, 0),
        on_v(v, 0),
        has_state(has_state) {}
  cuda::Update<T> update(bool with_v) const {
    return {int64_t(p.size()), on_p.data(), on_g.data(), has_state ? on_m.data() : nullptr,
            with_v ? on_v.data() : nullptr};
  }
};

/// What no element of a parameter may differ by: a few roundings a step.
template <class T>
void check(const char* what, int steps, const Parameter<T>& q, bool with_v) {
  constexpr long double eps = std::numeric_limits<T>::epsilon();
  const auto p = q.on_p.host(), m = q.on_m.host(), v = q.on_v.host();
  for (size_t i = 0; i < p.size(); ++i) {
    const bool bad = std::abs(p[i] - q.p_exact[i]) > eps * (steps * std::abs(q.p_exact[i]) + 12 * q.step_size[i]) ||
                     (q.has_state && std::abs(m[i] - q.m_exact[i]) > 4 * steps * eps * (1 + std::abs(q.m_exact[i]))) ||
                     (with_v && std::abs(v[i] - q.v_exact[i]) > 4 * steps * eps * (1 + std::abs(q.v_exact[i])));
    if (!bad) continue;
    char text[200];
    std::snprintf(text, sizeof text, "%s of %zu elements: [%zu] is %.17g, expected %.17Lg", what, p.size(), i,
                  double(p[i]), q.p_exact[i]);
    return fail(__FILE__, __LINE__, text);
  }
}

// Around an access, a block's threads, a chunk.
const int64_t kSizes[] = {1, 2, 3, 4, 5, 0, 31, 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 10001};

template <class T>
void sgd_step(Parameter<T>& q, const SgdStep& s) {
  for (size_t i = 0; i < q.p.size(); ++i) {
    long double& p = q.p_exact[i];
    long double d = q.g[i] + (long double)T(s.weight_decay) * p;
    if (q.has_state) {
      long double& buffer = q.m_exact[i];
      buffer = s.first ? d : (long double)T(s.momentum) * buffer + (long double)T(1 - s.dampening) * d;
      d = s.nesterov ? d + (long double)T(s.momentum) * buffer : buffer;
    }
    p -= (long double)T(s.lr) * d;
    q.step_size[i] += std::abs(s.lr) * (std::abs(d) + 1);
  }
}

template <class T>
void adam_step(Parameter<T>& q, const AdamStep& s) {
  for (size_t i = 0; i < q.p.size(); ++i) {
    long double &p = q.p_exact[i], &m = q.m_exact[i], &v = q.v_exact[i];
    const long double old = p, d = q.g[i] + (s.decoupled ? 0 : s.weight_decay * old);
    m = s.beta1 * m + (1 - s.beta1) * d;
    v = s.beta2 * v + (1 - s.beta2) * d * d;
    const long double change = s.lr * (m / s.correction1) / (std::sqrt(v / s.correction2) + s.eps);
    p = old * (s.decoupled ? 1 - s.lr * s.weight_decay : 1) - change;
    q.step_size[i] += std::abs(change) + s.lr * s.weight_decay * std::abs(old);
  }
}

template <class T>
void run_sgd(std::span<const cuda::Update<T>> u, std::span<const SgdStep> s) {
  if constexpr (sizeof(T) == 4)
    table().sgd_f32(u, s);
  else
    table().sgd_f64(u, s);
}
template <class T>
void run_adam(std::span<const cuda::Update<T>> u, std::span<const AdamStep> s) {
  if constexpr (sizeof(T) == 4)
    table().adam_f32(u, s);
  else
    table().adam_f64(u, s);
}

template <class T>
std::vector<std::unique_ptr<Parameter<T>>> parameters(bool all_have_state) {
  std::vector<std::unique_ptr<Parameter<T>>> all;
  for (const size_t shift : {0, 1})
    for (const int64_t n : kSizes) {
      const bool has_state = all_have_state || all.size() % 3 != 1;
      all.push_back(std::make_unique<Parameter<T>>(n, shift, has_state, unsigned(10 * all.size())));
    }
  return all;
}

template <class T>
void check_sgd() {
  const SgdStep kinds[] = {{0.1, 0, 0, 0, false, false},
                           {0.1, 0.9, 0, 0, false, true},
                           {0.05, 0.9, 0.5, 0.1, false, false},
                           {0.1, 0.9, 0, 0.01, true, false}};
  auto all = parameters<T>(false);
  constexpr int kSteps = 3;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<cuda::Update<T>> updates;
    std::vector<SgdStep> steps;
    for (size_t i = 0; i < all.size(); ++i) {
      SgdStep s = kinds[(i / 2) % 4];
      s.first = all[i]->has_state && (step == 0 || (step == 1 && i % 5 == 0));
      updates.push_back(all[i]->update(false)), steps.push_back(s);
      sgd_step(*all[i], s);
    }
    run_sgd<T>(updates, steps);
  }
  for (const auto& q : all) check("sgd", kSteps, *q, false);
}

template <class T>
void check_adam() {
  auto all = parameters<T>(true);
  constexpr int kSteps = 3;
  for (int step = 1; step <= kSteps; ++step) {
    std::vector<cuda::Update<T>> updates;
    std::vector<AdamStep> steps;
    for (size_t i = 0; i < all.size(); ++i) {
      AdamStep s{1e-3, 0.9, 0.999, 1e-8, i % 2 ? 0.1 : 0, i % 4 == 1, 0, 0};
      if (i % 3 == 0) s.lr = 0.01, s.beta1 = 0.8, s.eps = 1e-3;
      s.correction1 = 1 - std::pow(s.beta1, step), s.correction2 = 1 - std::pow(s.beta2, step);
      updates.push_back(all[i]->update(true)), steps.push_back(s);
      adam_step(*all[i], s);
    }
    run_adam<T>(updates, steps);
  }
  for (const auto& q : all) check("adam", kSteps, *q, true);
}

TEST(sgd_f32) { check_sgd<float>(); }
TEST(sgd_f64) { check_sgd<double>(); }
TEST(adam_f32) { check_adam<float>(); }
TEST(adam_f64) { check_adam<double>(); }

/// More parameters than a launch describes, and more kinds of steps than it holds.
TEST(hundreds_of_parameters) {
  std::vector<std::unique_ptr<Parameter<float>>> all;
  std::vector<cuda::Update<float>> updates;
  std::vector<AdamStep> steps;
  for (int i = 0; i < 300; ++i) {
    all.push_back(std::make_unique<Parameter<float>>(1 + i * 7 % 40, 0, true, unsigned(i)));
    const int kind = i < 150 ? i % 2 : i;
    AdamStep s{1e-3 * (1 + kind), 0.9, 0.999, 1e-8, 0, false, 0.1, 0.001};
    updates.push_back(all.back()->update(true)), steps.push_back(s);
    adam_step(*all.back(), s);
  }
  run_adam<float>(updates, steps);
  for (const auto& q : all) check("adam", 1, *q, true);
}

/// Exactly as many parameters as a launch describes, and one more; none at all.
TEST(full_launches) {
  run_sgd<float>({}, {});
  for (const int count : {63, 64, 65, 128, 129}) {
    std::vector<std::unique_ptr<Parameter<float>>> all;
    std::vector<cuda::Update<float>> updates;
    const std::vector<SgdStep> steps(count, SgdStep{0.1, 0.9, 0, 0, false, true});
    for (int i = 0; i < count; ++i) {
      all.push_back(std::make_unique<Parameter<float>>(3, 0, true, unsigned(i)));
      updates.push_back(all.back()->update(false));
      sgd_step(*all.back(), steps[i]);
    }
    run_sgd<float>(updates, steps);
    for (const auto& q : all) check("sgd", 1, *q, false);
  }
}

/// NaN and infinite gradients stay where they are.
TEST(special_values) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> g = {1, std::numeric_limits<float>::quiet_NaN(), inf, 1, 0};
  const DeviceArray<float> p(std::vector<float>(5, 1)), on_g(g), m(std::vector<float>(5, 0)),
      v(std::vector<float>(5, 0));
  const cuda::Update<float> update[] = {{5, p.data(), on_g.data(), m.data(), v.data()}};
  const AdamStep step[] = {{1e-3, 0.9, 0.999, 1e-8, 0, false, 0.1, 0.001}};
  run_adam<float>(update, step);
  const auto got = p.host();
  CHECK(std::abs(got[0] - 0.999f) < 1e-6f && std::abs(got[3] - 0.999f) < 1e-6f);
  CHECK(std::isnan(got[1]) && std::isnan(got[2]));  // inf / inf
  CHECK(got[4] == 1);
}

}  // namespace
