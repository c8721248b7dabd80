#include "elementwise.h"

#include <cstring>

#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int kMaxOperands = 5;
constexpr int64_t kGrain = 16384;  // elements a thread takes at least
constexpr int64_t kBlock = 1024;   // elements packed at a time where an operand is strided

/// All operands over one set of extents; neighbouring axes that every operand crosses in even steps are one axis.
struct Plan {
  Loop loop;
  const double* params;
  int operands;  // inputs, then the output
  Dims shape;
  char* data[kMaxOperands];
  int64_t item[kMaxOperands];
  Dims strides[kMaxOperands];  // in elements
  bool scalars_ok;

  void add(const Array& a, int extents) {
    const int i = operands++;
    data[i] = a.data;
    item[i] = int64_t(a.itemsize());
    const int extra = extents - a.ndim();
    strides[i].n = extents;
    for (int d = 0; d < extents; ++d) strides[i][d] = d < extra || a.shape[d - extra] == 1 ? 0 : a.strides[d - extra];
  }

  bool mergeable(int outer, int inner) const {
    for (int i = 0; i < operands; ++i)
      if (strides[i][outer] != strides[i][inner] * shape[inner]) return false;
    return true;
  }

  void coalesce() {
    int last = -1;  // axes 0…last are done
    for (int d = 0; d < shape.n; ++d) {
      if (shape[d] == 1) continue;
      const bool merge = last >= 0 && mergeable(last, d);
      if (!merge) ++last;
      shape[last] = merge ? shape[last] * shape[d] : shape[d];
      for (int i = 0; i < operands; ++i) strides[i][last] = strides[i][d];
    }
    if (last < 0) {
      shape[last = 0] = 1;
      for (int i = 0; i < operands; ++i) strides[i][0] = 0;
    }
    shape.n = last + 1;
    for (int i = 0; i < operands; ++i) strides[i].n = last + 1;
  }
};

template <class Word>
void copy_strided(int64_t n, const char* from, int64_t from_step, char* to, int64_t to_step) {
  const Word* x = reinterpret_cast<const Word*>(from);
  Word* y = reinterpret_cast<Word*>(to);
  for (int64_t i = 0; i < n; ++i) y[i * to_step] = x[i * from_step];
}

void copy_strided(int64_t item, int64_t n, const char* from, int64_t from_step, char* to, int64_t to_step) {
  if (item == 1) return copy_strided<uint8_t>(n, from, from_step, to, to_step);
  if (item == 4) return copy_strided<uint32_t>(n, from, from_step, to, to_step);
  copy_strided<uint64_t>(n, from, from_step, to, to_step);
}

/// n elements along the last axis, from p[i].
void run_line(const Plan& plan, char* const* p, int64_t n) {
  const int inner = plan.shape.n - 1, output = plan.operands - 1;
  void* direct[kMaxOperands];
  unsigned scalars = 0, packed = 0;
  for (int i = 0; i < plan.operands; ++i) {
    const int64_t step = plan.strides[i][inner];
    direct[i] = p[i];
    if (step == 1 || n == 1) continue;
    if (step == 0 && plan.scalars_ok && i != output)
      scalars |= 1u << i;
    else
      packed |= 1u << i;
  }
  if (!packed) return plan.loop(n, direct, scalars, plan.params);
  alignas(64) char buffer[kMaxOperands][kBlock * 8];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    for (int i = 0; i < plan.operands; ++i) {
      const int64_t step = plan.strides[i][inner], offset = begin * step * plan.item[i];
      if (!(packed >> i & 1)) {
        direct[i] = p[i] + offset;
      } else {
        direct[i] = buffer[i];
        if (i != output) copy_strided(plan.item[i], count, p[i] + offset, step, buffer[i], 1);
      }
    }
    plan.loop(count, direct, scalars, plan.params);
    if (packed >> output & 1) {
      const int64_t step = plan.strides[output][inner];
      copy_strided(plan.item[output], count, buffer[output], 1, p[output] + begin * step * plan.item[output], step);
    }
  }
}

/// Elements begin…end in C order.
void run_range(const Plan& plan, int64_t begin, int64_t end) {
  const int inner = plan.shape.n - 1;
  Dims index;
  index.n = plan.shape.n;
  int64_t rest = begin;
  char* p[kMaxOperands];
  std::copy(plan.data, plan.data + plan.operands, p);
  for (int d = inner; d >= 0; --d) {
    index[d] = rest % plan.shape[d];
    rest /= plan.shape[d];
    for (int i = 0; i < plan.operands; ++i) p[i] += index[d] * plan.strides[i][d] * plan.item[i];
  }
  for (int64_t at = begin; at < end;) {
    const int64_t n = std::min(plan.shape[inner] - index[inner], end - at);
    run_line(plan, p, n);
    at += n;
    if (at == end) return;
    for (int i = 0; i < plan.operands; ++i) p[i] -= index[inner] * plan.strides[i][inner] * plan.item[i];
    index[inner] = 0;
    for (int d = inner - 1; d >= 0; --d) {
      for (int i = 0; i < plan.operands; ++i) p[i] += plan.strides[i][d] * plan.item[i];
      if (++index[d] < plan.shape[d]) break;
      for (int i = 0; i < plan.operands; ++i) p[i] -= plan.shape[d] * plan.strides[i][d] * plan.item[i];
      index[d] = 0;
    }
  }
}

}  // namespace

void elementwise(Loop loop, std::span<const Array* const> inputs, const Array& out, const double* params,
                 bool scalars_ok) {
  const int64_t n = out.size();
  if (n == 0) return;
  Plan plan;
  plan.loop = loop, plan.params = params, plan.scalars_ok = scalars_ok;
  plan.operands = 0;
  plan.shape = out.shape;
  for (const Array* a : inputs) plan.add(*a, out.ndim());
  plan.add(out, out.ndim());
  plan.coalesce();
  parallel_range(n, kGrain, [&](int64_t begin, int64_t end) { run_range(plan, begin, end); });
}

}  // namespace steep
