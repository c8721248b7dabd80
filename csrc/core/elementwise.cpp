#include "elementwise.h"

#include <array>
#include <cstring>

#include "device.h"
#include "elementwise_plan.h"
#include "errors.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 16384;  // elements a thread takes at least
constexpr int64_t kBlock = 1024;   // elements at a time that take the way through a buffer

/// Fills in an operand; in extents it lacks, and where it has one element, it is broadcast.
void add(ElementwisePlan& plan, const Array& a) {
  const int i = plan.operands++, extents = plan.shape.n, extra = extents - a.ndim();
  plan.data[i] = a.data;
  plan.item[i] = int64_t(a.itemsize());
  plan.dtype[i] = a.dtype;
  plan.strides[i].n = extents;
  for (int d = 0; d < extents; ++d)
    plan.strides[i][d] = d < extra || a.shape[d - extra] == 1 ? 0 : a.strides[d - extra];
}

bool mergeable(const ElementwisePlan& plan, int outer, int inner) {
  for (int i = 0; i < plan.operands; ++i)
    if (plan.strides[i][outer] != plan.strides[i][inner] * plan.shape[inner]) return false;
  return true;
}

void coalesce(ElementwisePlan& plan) {
  int last = -1;  // axes 0…last are done
  for (int d = 0; d < plan.shape.n; ++d) {
    if (plan.shape[d] == 1) continue;
    const bool merge = last >= 0 && mergeable(plan, last, d);
    if (!merge) ++last;
    plan.shape[last] = merge ? plan.shape[last] * plan.shape[d] : plan.shape[d];
    for (int i = 0; i < plan.operands; ++i) plan.strides[i][last] = plan.strides[i][d];
  }
  if (last < 0) {
    plan.shape[last = 0] = 1;
    for (int i = 0; i < plan.operands; ++i) plan.strides[i][0] = 0;
  }
  plan.shape.n = last + 1;
  for (int i = 0; i < plan.operands; ++i) plan.strides[i].n = last + 1;
}

/// The CPU's side of an operation.
struct Work : ElementwisePlan {
  ElementwiseKernel kernel;
  const double* params;
  bool scalars_ok;
  unsigned stored = 0;  // bit i: operand i is of a dtype that is converted to the one it is computed in
};

void copy_strided(int64_t item, int64_t n, const char* from, int64_t from_step, char* to, int64_t to_step) {
  visit_words(item, [=]<class Item>(Item) {
    const Item* x = reinterpret_cast<const Item*>(from);
    Item* y = reinterpret_cast<Item*>(to);
    for (int64_t i = 0; i < n; ++i) y[i * to_step] = x[i * from_step];
  });
}

/// Elements of operand i, one after another, in the dtype that it is computed in.
void unpack(const Work& plan, int i, int64_t n, const char* from, int64_t from_step, char* to) {
  if (!(plan.stored >> i & 1)) return copy_strided(plan.item[i], n, from, from_step, to, 1);
  alignas(64) char packed[kBlock * 8];
  if (from_step != 1) copy_strided(plan.item[i], n, from, from_step, packed, 1);
  void* const operands[] = {from_step == 1 ? const_cast<char*>(from) : packed, to};
  kernels().cast[int(plan.dtype[i])][int(computed_in(plan.dtype[i]))].loop(n, operands, 0, nullptr);
}

/// The way back.
void pack(const Work& plan, int i, int64_t n, char* from, char* to, int64_t to_step) {
  if (!(plan.stored >> i & 1)) return copy_strided(plan.item[i], n, from, 1, to, to_step);
  alignas(64) char packed[kBlock * 8];
  void* const operands[] = {from, to_step == 1 ? to : packed};
  kernels().cast[int(computed_in(plan.dtype[i]))][int(plan.dtype[i])].loop(n, operands, 0, nullptr);
  if (to_step != 1) copy_strided(plan.item[i], n, packed, 1, to, to_step);
}

/// n elements along the last axis, from p[i]. Strided operands and those of other dtypes than they are computed in go
/// through a buffer, block by block. A very large output goes past the caches: from the kernel, while it reads on, or,
/// if the kernel can't, from a buffer.
void run_line(const Work& plan, char* const* p, int64_t n) {
  const int inner = plan.shape.n - 1, output = plan.operands - 1;
  void* direct[kMaxOperands];
  unsigned marks = 0, packed = plan.stored;
  for (int i = 0; i < plan.operands; ++i) {
    const int64_t step = plan.strides[i][inner];
    direct[i] = p[i];
    if (step == 1 || n == 1) continue;
    if (step == 0 && plan.scalars_ok && i != output && !(plan.stored >> i & 1))
      marks |= 1u << i;
    else
      packed |= 1u << i;
  }
  const bool streams = !(packed >> output & 1) && n * plan.item[output] > kStreamedBytes;
  if (!packed && !streams) return plan.kernel.loop(n, direct, marks, plan.params);
  alignas(64) char buffer[kMaxOperands][kBlock * 8];
  const bool copies = streams && !plan.kernel.streams;
  const unsigned buffered = packed | unsigned(copies) << output;
  // Streamed stores begin at a cache line; what lies before it is stored as usual.
  const int64_t head = streams ? int64_t(-reinterpret_cast<uintptr_t>(p[output]) % 64) / plan.item[output] : 0;
  for (int64_t begin = 0, count; begin < n; begin += count) {
    const bool past = streams && begin >= head;
    count = std::min(streams && !past ? head : buffered ? kBlock : n, n - begin);
    for (int i = 0; i < plan.operands; ++i) {
      const int64_t step = plan.strides[i][inner], offset = begin * step * plan.item[i];
      direct[i] = buffered >> i & 1 ? buffer[i] : p[i] + offset;
      if (packed >> i & 1 && i != output) unpack(plan, i, count, p[i] + offset, step, buffer[i]);
    }
    const int64_t step = plan.strides[output][inner];
    char* const to = p[output] + begin * step * plan.item[output];
    if (copies && !past) direct[output] = to;
    plan.kernel.loop(count, direct, marks | (past && !copies ? kPastCaches : 0), plan.params);
    if (copies && past)
      kernels().memory.stream(count * plan.item[output], buffer[output], to);
    else if (packed >> output & 1)
      pack(plan, output, count, buffer[output], to, step);
  }
  if (streams) kernels().memory.end_streams();
}

/// Elements begin…end in C order.
void run_range(const Work& plan, int64_t begin, int64_t end) {
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

const UnaryKernel& unary_operation(std::string_view name) {
  for (const UnaryKernel& k : kernels().unary)
    if (name == k.name) return k;
  throw std::invalid_argument(message("there is no operation '", std::string(name), "' of one operand"));
}

const BinaryKernel& binary_operation(std::string_view name) {
  for (const BinaryKernel& k : kernels().binary)
    if (name == k.name) return k;
  throw std::invalid_argument(message("there is no operation '", std::string(name), "' of two operands"));
}

namespace {

/// On CUDA: through arrays of the dtypes that are computed in.
void convert_and_run(const char* op, const ElementwiseKernel& kernel, std::span<const Array* const> inputs,
                     const Array& out, const double* params) {
  std::array<Array, kMaxOperands> converted;
  std::array<const Array*, kMaxOperands> operands;
  for (size_t i = 0; i < inputs.size(); ++i) {
    converted[i] = astype(*inputs[i], computed_in(inputs[i]->dtype));
    operands[i] = &converted[i];
  }
  Array result(computed_in(out.dtype), out.shape, out.device());
  elementwise(op, kernel, std::span(operands).first(inputs.size()), result, params);
  const Array* results[] = {&result};
  elementwise(op, kernels().cast[int(result.dtype)][int(out.dtype)], results, out, nullptr, kAsStored);
}

}  // namespace

void throw_no_kernel(const char* op, const Array& a) {
  throw std::runtime_error(message(op, " has no kernel for ", name(a.dtype), " tensors on ", to_string(a.device()),
                                   ": move the tensor with .to('cpu')"));
}

void elementwise(const char* op, const ElementwiseKernel& kernel, std::span<const Array* const> inputs,
                 const Array& out, const double* params, unsigned manner) {
  const int64_t n = out.size();
  if (n == 0) return;
  Work work;
  work.kernel = kernel, work.params = params, work.scalars_ok = manner & kTakesScalars;
  work.shape = out.shape;
  for (const Array* a : inputs) add(work, *a);
  add(work, out);
  if (!(manner & kAsStored))
    for (int i = 0; i < work.operands; ++i) work.stored |= unsigned(computed_in(work.dtype[i]) != work.dtype[i]) << i;
  coalesce(work);
  if (!on_cuda(out)) {
    for (const Array* a : inputs) check_same_device(op, {a, &out});
    return parallel_range(n, kGrain, [&](int64_t begin, int64_t end) { run_range(work, begin, end); });
  }
  if (!kernel.launch) throw_no_kernel(op, out);
  if (work.stored) return convert_and_run(op, kernel, inputs, out, params);
  const Array* on_device[kMaxOperands] = {};
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i]->ndim() == 0 && !on_cuda(*inputs[i])) {
      work.immediates |= 1u << i;
      std::memcpy(&work.value[i], inputs[i]->data, inputs[i]->itemsize());
    } else {
      on_device[i] = inputs[i];
    }
  }
  on_device[inputs.size()] = &out;
  const DeviceScope scope(op, on_device);
  kernel.launch(work, params);
}

}  // namespace steep
