// Reductions over any axes: how they are cut into passes of the kernel in reduce.cuh.
#include "reduce.cuh"

#include <bit>
#include <cassert>
#include <cstdlib>
#include <span>
#include <string_view>

namespace steep::cuda {
namespace {

/// A kernel of reduce.cuh, and what its launches are planned by.
struct Kernel {
  void (*run)(Pass);
  int item, width, per, acc_size, result_size;
};

template <class Op, class T, class R>
constexpr Kernel kernel() {
  return {reduce<Op, T, R>, sizeof(T), kWidth<T>, kPer<T>, sizeof(typename Op::template Acc<T>), sizeof(R)};
}

/// One operation on one dtype: `first` reads elements, `merge` partial results.
struct Operation {
  const char* name;
  Choice choice;
  Kernel first, merge;
};

struct Axis {
  int64_t extent, from, to;  // as in KeptAxis; `to` of reduced axes is 0
  bool reduced;
};

struct Axes {
  int n = 0;
  Axis v[kMaxNdim];

  void push(const Axis& axis) {
    if (axis.extent != 1) v[n++] = axis;
  }
  int64_t size() const {
    int64_t size = 1;
    for (int d = 0; d < n; ++d) size *= v[d].extent;
    return size;
  }
  /// Neighbours that are crossed in even steps become one.
  Axes merged() const {
    Axes out;
    for (int d = 0; d < n; ++d) {
      Axis* last = out.n ? &out.v[out.n - 1] : nullptr;
      if (last && last->reduced == v[d].reduced && last->from == v[d].from * v[d].extent &&
          last->to == v[d].to * v[d].extent)
        *last = {last->extent * v[d].extent, v[d].from, v[d].to, v[d].reduced};
      else
        out.push(v[d]);
    }
    return out;
  }
};

/// The axis that the first pass reduces, -1 where there is none: the one of the shortest steps, where it is worth a
/// pass, or else the longest.
int first_axis(const Axes& axes) {
  int chosen = -1;
  for (int d = axes.n - 1; d >= 0; --d)
    if (axes.v[d].reduced && (chosen < 0 || (axes.v[chosen].extent < 32 && axes.v[d].extent > axes.v[chosen].extent)))
      chosen = d;
  return chosen;
}

constexpr int64_t kMostResults = int64_t(1) << 30;

int64_t power_of_two(int64_t n) { return int64_t(std::bit_ceil(uint64_t(n))); }

/// Sets the rectangle of threads and the pieces of a pass with `kept` results, neighbours `inner` apart in x; returns
/// the rectangle's lines.
int64_t set_shape(const Kernel& kernel, int64_t kept, int64_t inner, Pass& p) {
  const int64_t device_threads = int64_t(device_limits().multiprocessors) * 1024;
  int64_t threads = power_of_two(std::max<int64_t>(1, ceil_div(p.n, int64_t(kernel.per))));
  p.near_lines = kept > 1 && std::abs(inner) < std::abs(p.step);
  if (p.near_lines) {
    threads = std::min(threads, kThreads / std::min<int64_t>(power_of_two(kept), 32));
  } else {
    threads = std::min<int64_t>(threads, kThreads);
    while (threads < kThreads && 2 * threads <= p.n && threads * kept < device_threads) threads *= 2;
  }
  const int64_t lines = kThreads / threads;
  p.log_near = std::countr_zero(uint64_t(p.near_lines ? lines : threads));
  p.vectors = !p.near_lines && p.step == 1 && kernel.width > 1 && p.n >= 128;

  // A few long results: several blocks for each, with two rounds of loads at least.
  const int64_t round = threads * kernel.per, blocks = 2 * device_threads / kThreads;
  const int64_t pieces = std::min(blocks / ceil_div(kept, lines), p.n / (2 * round));
  p.piece = pieces < 4 ? p.n : ceil_div(ceil_div(p.n, pieces), round) * round;
  return lines;
}

/// In halves, where the results are too many for the kernel's 32-bit numbers.
void launch_pass(const Operation& op, const Kernel& kernel, Pass p, const Axes& rows, int64_t lines, int64_t pieces) {
  if (const int64_t kept = rows.size(); kept <= kMostResults) {
    p.kept = uint32_t(kept);
    p.axes = rows.n;
    for (int d = 0; d < rows.n; ++d) p.axis[d] = {rows.v[d].from, rows.v[d].to, uint32_t(rows.v[d].extent)};
    const dim3 grid(unsigned(ceil_div(kept, lines)), unsigned(pieces));
    return launch(op.name, kernel.run, grid, kThreads, 0, p);
  }
  Axes half = rows;
  Axis& longest =
      *std::max_element(half.v, half.v + half.n, [](const Axis& a, const Axis& b) { return a.extent < b.extent; });
  const int64_t extent = longest.extent, first = extent / 2;
  longest.extent = first;
  launch_pass(op, kernel, p, half, lines, pieces);
  longest.extent = extent - first;
  p.x = static_cast<const char*>(p.x) + first * longest.from * kernel.item;
  p.y = static_cast<char*>(p.y) + first * longest.to * pieces * (p.partial ? kernel.acc_size : kernel.result_size);
  launch_pass(op, kernel, p, half, lines, pieces);
}

void run(const Operation& op, const Kernel& kernel, const void* x, void* y, Axes axes) {
  // The longest steps in x first, so that neighbouring threads read neighbours.
  std::stable_sort(axes.v, axes.v + axes.n,
                   [](const Axis& a, const Axis& b) { return std::abs(a.from) > std::abs(b.from); });
  axes = axes.merged();
  const int chosen = first_axis(axes);
  Axes rows;
  for (int d = 0; d < axes.n; ++d)
    if (d != chosen) rows.push(axes.v[d]);

  Pass p{};
  p.x = x, p.y = y, p.choice = op.choice;
  p.n = chosen < 0 ? 1 : axes.v[chosen].extent;
  p.step = chosen < 0 ? 0 : axes.v[chosen].from;
  const int64_t kept = rows.size();
  const int64_t lines = set_shape(kernel, kept, rows.n ? rows.v[rows.n - 1].from : 0, p);
  const int64_t pieces = std::max<int64_t>(1, p.n ? ceil_div(p.n, p.piece) : 1);
  p.partial = pieces > 1 || first_axis(rows) >= 0;

  // Partial results lie in the order of `rows`, and the next pass reduces what is left.
  Axes written = rows, next;
  int64_t step = 1;
  for (int d = rows.n - 1; d >= 0; --d) {
    written.v[d].reduced = false;
    if (!p.partial) continue;
    written.v[d].to = step;
    step *= rows.v[d].extent;
  }
  const Workspace partials(p.partial ? size_t(kept * pieces) * size_t(kernel.acc_size) : 0);
  if (p.partial) p.y = partials.as<void>();
  for (int d = 0; d < rows.n; ++d)
    next.push({rows.v[d].extent, written.v[d].to * pieces, rows.v[d].to, rows.v[d].reduced});
  next.push({pieces, 1, 0, true});
  launch_pass(op, kernel, p, written.merged(), lines, pieces);
  if (p.partial) run(op, op.merge, partials.as<void>(), y, next);
}

void run(const Operation& op, const ReducePlan& plan) {
  Axes axes;
  int64_t step = 1;
  for (int d = plan.kept_shape.n - 1; d >= 0; --d) {
    axes.push({plan.kept_shape[d], plan.kept_strides[d], step, false});
    step *= plan.kept_shape[d];
  }
  if (step == 0) return;
  const int kept_axes = axes.n;
  for (int d = 0; d < plan.reduced_shape.n; ++d) axes.push({plan.reduced_shape[d], plan.reduced_strides[d], 0, true});
  if (axes.size() == 0) {
    axes.n = kept_axes;
    axes.push({0, 0, 0, true});
  }
  run(op, op.first, plan.x, plan.y, axes);
}

// --- the rows of the tables ------------------------------------------------------------------------------------------

/// A pass's accumulators as elements of the next. Sums and products of integers have the same bits with a sign.
template <class Op, class T>
using Partial =
    std::conditional_t<std::is_same_v<typename Op::template Acc<T>, uint64_t> && !std::is_same_v<T, uint64_t>, int64_t,
                       typename Op::template Acc<T>>;

template <class Op, class T, class R>
Operation operation(const char* name, Choice choice) {
  return {name, choice, kernel<Op, T, R>(), kernel<Op, Partial<Op, T>, R>()};
}

/// An element is true where a bit is set, but for the sign of a float.
template <class T>
Operation truth(const char* name, bool all) {
  using Bits = std::conditional_t<sizeof(T) == 1, uint8_t, std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>;
  return operation<Truth, Bits, uint8_t>(
      name, {all, std::is_floating_point_v<T> ? ~uint64_t(0) >> (65 - 8 * sizeof(T)) : ~uint64_t(0)});
}

template <class Op, class T>
using Element = std::conditional_t<std::is_same_v<T, uint64_t> && !Op::needs_elements, int64_t, T>;

template <class Op, class T>
void launch_reduce(const ReducePlan& plan) {
  constexpr bool any = std::is_same_v<Op, Any>, all = std::is_same_v<Op, All>;
  if constexpr (any || all || (Op::needs_elements && sizeof(T) == 1))  // the largest boolean is whether any is true
    run(truth<T>(Op::name, all || std::is_same_v<Op, Min>), plan);
  else
    run(operation<Op, Element<Op, T>, typename Op::template Result<Element<Op, T>>>(Op::name, {}), plan);
}

template <class Op, class T>
void launch_arg_reduce(int64_t rows, int64_t n, const void* x, int64_t* y) {
  constexpr bool smallest = std::is_same_v<Op, Min>;
  run(operation<Arg, T, int64_t>(smallest ? "argmin" : "argmax", {.flip = smallest}), {x, y, {rows}, {n}, {n}, {1}});
}

template <class Op>
void set(ReduceKernel& row) {
  assert(std::string_view(row.name) == Op::name);
  each_computed_type([&]<class T>() { row.launch[dtype_of<T>()] = launch_reduce<Op, Lane<T>>; });
}

template <class... Op>
void set_all(std::span<ReduceKernel> rows, List<Op...>) {
  assert(rows.size() == sizeof...(Op));
  ReduceKernel* row = rows.data();
  (set<Op>(*row++), ...);
}

template <class Op>
void set_arg([[maybe_unused]] const char* name, ArgReduceKernel& row) {
  assert(std::string_view(row.name) == name);
  each_computed_type([&]<class T>() { row.launch[dtype_of<T>()] = launch_arg_reduce<Op, Lane<T>>; });
}

}  // namespace

void fill_reduce(std::span<ReduceKernel> reduce, std::span<ArgReduceKernel> arg_reduce) {
  set_all(reduce, Reductions());
  assert(arg_reduce.size() == 2);
  set_arg<Max>("argmax", arg_reduce[0]);
  set_arg<Min>("argmin", arg_reduce[1]);
}

}  // namespace steep::cuda
