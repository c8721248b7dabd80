// Normalisation of the rows of a matrix by the root of their mean square: Zhang, Sennrich, "Root mean square layer
// normalization", 2019.
#include "../core/norm.h"
#include "column_sums.cuh"
#include "table.h"

namespace steep::cuda {
void fill_rms_norm(Table& table);

namespace {

template <class T>
struct RmsNorm {
  static constexpr int kPasses = 2;
  const T *x, *weight;
  double eps, inverse_n;
  T *y, *rstd;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    RowSum<T, 1> squares{};
    T unit = 1, scale = 0;  // unit: another one where squares of v aren't in range
    int last = kPasses - 1;
    row.sweep(kPasses, index, {x}, {T(0)}, [&](auto at) {
      if (at.pass < last) {
        squares.add(row, at, [&](int k, T(&term)[1]) {
          const T v = row.v[0][k] * unit;
          term[0] = v * v;
        });
        if (!at.is_last) return;
        const double mean = squares.sum[0] * inverse_n + eps * unit * unit;
        scale = 1 / sqrt(Vec<T>(T(mean))).v;
        if (at.pass > 0) return;
        unit = unit_for_squares<T>(mean);
        if (row.needs_more(1, unit != 1)) squares = {}, ++last;
        return;
      }
      row.each([&](int k) { row.v[0][k] = row.v[0][k] * unit * scale; });
      if (weight) {
        T w[Row::kCount] = {};
        row.load_row(weight, w);
        row.each([&](int k) { row.v[0][k] *= w[k]; });
      }
      row.store_matrix(y, row.v[0]);
    });
    if (row.writes(index)) rstd[index] = scale * unit;
  }
};

/// dx = rstd · (h - x̂ · mean(h·x̂)), where h = g · weight and x̂ = x · rstd. With `sums`, a team takes rows team,
/// team + teams, … and leaves its Σ g·x̂, summed in T, in sums[team][0 … n - 1].
template <class T>
struct RmsNormBackward {
  const T *g, *x, *weight, *rstd;
  T *dx, *sums;
  double inverse_n;
  int64_t rows, n, tiles, teams;
  int rows_per_team;

  template <class Row>
  __device__ void operator()(Row& row, int64_t team) const {
    T weight_sum[Row::kCount] = {};
    for (int i = 0; i < rows_per_team; ++i) {
      const int64_t index = team < teams ? team + i * teams : rows;
      const T scale = row.exists(index) ? rstd[index] : T(0);
      // Rows of one tile have their sums in registers up to the last row, longer ones in memory.
      const bool stores_sums = sums && (tiles > 1 || i == rows_per_team - 1 || index + teams >= rows);
      const bool adds_sums = tiles > 1 && i > 0;
      RowSum<T, 1> dot{};
      row.sweep(2, index, {g, x}, {T(0), T(0)}, [&](auto at) {
        if (at.is_new) {  // v becomes h and x̂
          row.each([&](int k) { row.v[1][k] *= scale; });
          if (at.pass == 0) row.each([&](int k) { weight_sum[k] += row.v[0][k] * row.v[1][k]; });
          if (weight) {
            T w[Row::kCount] = {};
            row.load_row(weight, w);
            row.each([&](int k) { row.v[0][k] *= w[k]; });
          }
        }
        if (at.pass == 0) {
          dot.add(row, at, [&](int k, T(&term)[1]) { term[0] = row.v[0][k] * row.v[1][k]; });
          if (stores_sums) store_sums(row, sums + team * n, adds_sums, weight_sum);
        } else {
          const T projection = T(dot.sum[0] * inverse_n);
          row.each([&](int k) { row.v[0][k] = scale * (row.v[0][k] - row.v[1][k] * projection); });
          row.store_matrix(dx, row.v[0]);
        }
      });
    }
  }
};

template <class T>
void rms_norm(int64_t rows, int64_t n, const T* x, const T* weight, double eps, T* y, T* rstd) {
  launch_rows<T, 1>("rms_norm", rows, n, {x, weight, y}, RmsNorm<T>{x, weight, eps, 1 / double(n), y, rstd});
}

template <class T>
void rms_norm_backward(int64_t rows, int64_t n, const T* g, const T* x, const T* weight, const T* rstd, T* dx,
                       double* dweight) {
  constexpr const char* name = "rms_norm_backward";
  if (rows == 0) return;
  const RowPlan plan = plan_rows<T, 2>(rows, n, 2, {g, x, weight, dx});
  const int each = dweight ? rows_per_team(rows, plan) : 1;
  const int64_t teams = ceil_div(rows, int64_t(each));
  const Workspace sums(dweight ? teams * n * sizeof(T) : 0);
  launch_rows<T, 2>(
      name, plan, teams,
      RmsNormBackward<T>{g, x, weight, rstd, dx, sums.as<T>(), 1 / double(n), rows, n, plan.tiles, teams, each});
  if (dweight) launch_add_sums(name, teams, n, n, sums.as<const T>(), dweight, nullptr);
}

template <class T>
void fill(RowKernels<T>& k) {
  k.rms_norm = rms_norm<T>;
  k.rms_norm_backward = rms_norm_backward<T>;
}

}  // namespace

void fill_rms_norm(Table& table) {
  fill(table.rows_f32);
  fill(table.rows_f64);
}

}  // namespace steep::cuda
