#include "scan.h"

#include <algorithm>
#include <memory>

#include "../cuda/table.h"
#include "device.h"
#include "errors.h"
#include "reduce.h"
#include "scan_formulas.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 16384;  // elements a thread takes at least
constexpr int kColumns = 128;      // neighbouring lines that are scanned together
constexpr int kRows = 8;           // lines behind each other: a state waits for the one before, several don't
/// Elements of a long line that are scanned as a line of their own: no power of two, or neighbouring lines would
/// compete for the same places in L1.
constexpr int64_t kPiece = 4160;

/// Stretches of n elements, in steps of `along`, that are scanned together: the j-th begins at at + j · across, with
/// the element of number first + j · later of its line.
struct Bundle {
  int64_t at, across, n, along, first = 0, later = 0;
};

/// Scans `fixed` stretches, or `count` where that is 0. The states are those in front, and become those at the end.
template <bool stores, int64_t step, int fixed, class Op>
void scan_bundle(const Op& op, const Bundle& b, int count, typename Op::State* states) {
  typename Op::State s[fixed ? fixed : kColumns];
  const int width = fixed ? fixed : count;
  const int64_t across = step ? step : b.across;
  for (int j = 0; j < width; ++j) s[j] = states[j];  // std::copy would leave them in integer registers
  for (int64_t i = 0, at = b.at; i < b.n; ++i, at += b.along) {
    const auto one = [&](int j) {
      s[j] = Op::join(s[j], op.take(at + j * across, b.first + j * b.later + i));
      if constexpr (stores) op.store(at + j * across, s[j]);
    };
    if constexpr (step == 1) {
#pragma GCC ivdep
      for (int j = 0; j < width; ++j) one(j);
    } else {
#pragma GCC unroll 8
      for (int j = 0; j < fixed; ++j) one(j);  // with the states in registers
    }
  }
  for (int j = 0; j < width; ++j) states[j] = s[j];
}

/// `count` lines that lie side by side.
template <class Op>
void scan_columns(const Op& op, const Bundle& b, int count) {
  typename Op::State states[kColumns];
  std::fill_n(states, count, Op::init());
  if (count == kColumns)
    scan_bundle<true, 1, kColumns>(op, b, count, states);
  else
    scan_bundle<true, 1, 0>(op, b, count, states);
}

/// `count` stretches that lie behind each other.
template <bool stores, class Op>
void scan_rows(const Op& op, Bundle b, int64_t count, typename Op::State* states) {
  while (count > 0) {
    const int rows = count < kRows ? 1 : kRows;
    if (rows == kRows)
      scan_bundle<stores, 0, kRows>(op, b, rows, states);
    else
      scan_bundle<stores, 0, 1>(op, b, rows, states);
    b.at += rows * b.across, b.first += rows * b.later, states += rows, count -= rows;
  }
}

/// One long line in pieces, whose states in front are known once each piece has been gone through. The cut depends on
/// n alone, so that the bits don't depend on the number of threads.
template <class Op>
void scan_pieces(const Op& op, int64_t at, int64_t n, int64_t along) {
  using State = typename Op::State;
  const int64_t whole = n / kPiece, across = kPiece * along;
  const auto front = std::make_unique_for_overwrite<State[]>(size_t(whole + 1));
  std::fill_n(front.get(), whole + 1, Op::init());
  const auto each = [&](auto stores, State* states) {
    parallel_range(whole, kGrain / kPiece, [&](int64_t begin, int64_t end) {
      const Bundle b{at + begin * across, across, kPiece, along, begin * kPiece, kPiece};
      scan_rows<stores.value>(op, b, end - begin, states + begin);
    });
  };
  each(std::false_type(), front.get() + 1);
  for (int64_t p = 1; p <= whole; ++p) front[p] = Op::join(front[p - 1], front[p]);
  State last = front[whole];
  each(std::true_type(), front.get());
  scan_rows<true>(op, {at + whole * across, across, n - whole * kPiece, along, whole * kPiece}, 1, &last);
}

template <class Op>
void scan_lines(const Op& op, const cuda::ScanSizes& s) {
  const bool pays = Op::pieces == scans::Pieces::pay || (Op::pieces == scans::Pieces::same && num_threads() >= 4);
  if (pays && s.outer * s.inner < kRows && s.n >= 2 * kPiece) {
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t i = 0; i < s.inner; ++i) scan_pieces(op, o * s.n * s.inner + i, s.n, s.inner);
  } else if (s.inner == 1) {
    parallel_range(s.outer, std::max<int64_t>(1, kGrain / s.n), [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; line += kRows) {
        typename Op::State states[kRows];
        std::fill_n(states, kRows, Op::init());
        scan_rows<true>(op, {line * s.n, s.n, s.n, 1}, std::min<int64_t>(kRows, end - line), states);
      }
    });
  } else {
    const int64_t blocks = (s.inner + kColumns - 1) / kColumns;
    const int64_t work = std::min<int64_t>(s.inner, kColumns) * s.n;
    parallel_range(s.outer * blocks, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t o = b / blocks, i = b % blocks * kColumns;
        scan_columns(op, {o * s.n * s.inner + i, 1, s.n, s.inner}, int(std::min<int64_t>(kColumns, s.inner - i)));
      }
    });
  }
}

cuda::ScanSizes sizes_of(const Array& a, int axis) {
  const auto [outer, inner] = sizes_around(a.shape, axis);
  return {outer, a.shape[axis], inner};
}

constexpr const char* kNames[] = {"cumulative_sum", "cumulative_prod", "logcumsumexp"};

}  // namespace

Array scan(Scan kind, const Array& a, int axis) {
  const char* const op = kNames[int(kind)];
  if (kind == Scan::logsumexp && !is_floating(a.dtype))
    throw TypeError(message(op, " needs a floating-point tensor, not ", name(a.dtype), ": use .astype(steep.float32)"));
  const DType result = kind == Scan::logsumexp ? a.dtype : result_of(reduction("sum"), a.dtype);
  const Array x = computable(in_dtype(a, result));
  Array y(x.dtype, x.shape, x.device());
  if (y.size() == 0) return in_dtype(y, result);
  const cuda::ScanSizes sizes = sizes_of(x, axis);
  const DeviceScope scope(op, {&x, &y});
  if (on_cuda(x)) {
    cuda::table()->scan(kind, x.dtype, sizes, x.data, y.data);
    return in_dtype(y, result);
  }
  visit_computed(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_integral_v<T> || sizeof(T) == sizeof(int64_t)) {  // no sum is of another dtype
      if (kind == Scan::sum) return scan_lines(scans::Sum<T>{x.as<T>(), y.as<T>()}, sizes);
      if (kind == Scan::prod) return scan_lines(scans::Prod<T>{x.as<T>(), y.as<T>()}, sizes);
    }
    if constexpr (!std::is_integral_v<T>) scan_lines(scans::LogSumExp<T>{x.as<T>(), y.as<T>()}, sizes);
  });
  return in_dtype(y, result);
}

Array linear_scan(const Array& a, const Array& b, int axis) {
  const Array factors = computable(a), terms = computable(b);
  Array y(terms.dtype, b.shape, b.device());
  if (y.size() == 0) return y;
  const cuda::ScanSizes sizes = sizes_of(y, axis);
  const DeviceScope scope("linear_scan", {&factors, &terms, &y});
  if (on_cuda(y)) {
    cuda::table()->linear_scan(y.dtype, sizes, factors.data, terms.data, y.data);
    return in_dtype(y, b.dtype);
  }
  visit_computed(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_integral_v<T>)
      scan_lines(scans::Linear<T>{factors.as<T>(), terms.as<T>(), y.as<T>()}, sizes);
  });
  return in_dtype(y, b.dtype);
}

std::pair<Array, Array> extreme_scan(bool largest, const Array& a, int axis) {
  const Array x = computable(a);
  Array y(x.dtype, x.shape, x.device()), index(DType::int64, x.shape, x.device());
  if (y.size() == 0) return {in_dtype(y, a.dtype), index};
  const cuda::ScanSizes sizes = sizes_of(x, axis);
  const DeviceScope scope(largest ? "cummax" : "cummin", {&x, &y, &index});
  if (on_cuda(x)) {
    cuda::table()->extreme_scan(largest, x.dtype, sizes, x.data, y.data, index.as<int64_t>());
    return {in_dtype(y, a.dtype), index};
  }
  visit_computed(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (largest)
      scan_lines(scans::Extreme<T, true>{x.as<T>(), y.as<T>(), index.as<int64_t>()}, sizes);
    else
      scan_lines(scans::Extreme<T, false>{x.as<T>(), y.as<T>(), index.as<int64_t>()}, sizes);
  });
  return {in_dtype(y, a.dtype), index};
}

}  // namespace steep
