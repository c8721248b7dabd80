// Layer normalisation of the rows of a matrix: Ba, Kiros, Hinton, "Layer normalization", 2016.
#include "../core/norm.h"
#include "column_sums.cuh"
#include "table.h"

namespace steep::cuda {
void fill_layer_norm(Table& table);

namespace {

template <class T>
struct LayerNorm {
  static constexpr int kPasses = 3;
  const T *x, *weight, *bias;
  double eps, inverse_n;
  T *y, *mean, *rstd;
  int64_t n;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    T origin = row.exists(index) ? x[index * n] : T(0);  // near the mean: the sum loses nothing to a large one
    RowSum<T, 1> distances{}, squares{};
    T unit = 1, m = 0, scale = 0, shift = 0;  // unit: another one where squares of v - m aren't in range
    int first = 0;
    row.sweep(kPasses, index, {x}, {T(0)}, [&](auto at) {
      if (at.pass == first) {
        distances.add(row, at,
                      [&](int k, T(&term)[1]) { term[0] = row.contains(k) ? row.v[0][k] * unit - origin : T(0); });
        if (at.is_last) m = T(double(origin) + distances.sum[0] * inverse_n);
      } else if (at.pass == first + 1) {
        squares.add(row, at, [&](int k, T(&term)[1]) {
          const T d = row.v[0][k] * unit - m;
          term[0] = row.contains(k) ? d * d : T(0);
        });
        if (!at.is_last) return;
        // x - m is exact near the mean; what rounding the mean to T has cost comes back in the variance and in `shift`.
        const double slip = distances.sum[0] * inverse_n - (double(m) - double(origin));
        const double variance = squares.sum[0] * inverse_n - slip * slip + eps * unit * unit;
        scale = 1 / sqrt(Vec<T>(T(variance))).v;
        shift = T(-slip) * scale;
        if (first > 0) return;
        unit = unit_for_squares<T>(variance);
        if (row.needs_more(2, unit != 1)) distances = {}, squares = {}, origin *= unit, first = 2;
      } else {
        row.each([&](int k) { row.v[0][k] = (row.v[0][k] * unit - m) * scale + shift; });
        T parameter[Row::kCount] = {};
        if (weight) {
          row.load_row(weight, parameter);
          row.each([&](int k) { row.v[0][k] *= parameter[k]; });
        }
        if (bias) {
          row.load_row(bias, parameter);
          row.each([&](int k) { row.v[0][k] += parameter[k]; });
        }
        row.store_matrix(y, row.v[0]);
      }
    });
    if (row.writes(index)) mean[index] = m / unit, rstd[index] = scale * unit;
  }
};

/// dx = rstd · (h - mean(h) - x̂ · mean(h·x̂)), where h = g · weight and x̂ = (x - mean) · rstd. With `sums`, a team takes
/// rows team, team + teams, … and leaves its Σ g·x̂ and Σ g, summed in T, in sums[team][0 and 1][0 … n - 1].
template <class T>
struct LayerNormBackward {
  const T *g, *x, *weight, *mean, *rstd;
  T *dx, *sums;
  double inverse_n;
  int64_t rows, n, tiles, teams;
  int rows_per_team;

  template <class Row>
  __device__ void operator()(Row& row, int64_t team) const {
    T weight_sum[Row::kCount] = {}, bias_sum[Row::kCount] = {};
    for (int i = 0; i < rows_per_team; ++i) {
      const int64_t index = team < teams ? team + i * teams : rows;
      const bool exists = row.exists(index);
      const T m = exists ? mean[index] : T(0), scale = exists ? rstd[index] : T(0);
      // Rows of one tile have their sums in registers up to the last row, longer ones in memory.
      const bool stores_sums = sums && (tiles > 1 || i == rows_per_team - 1 || index + teams >= rows);
      const bool adds_sums = tiles > 1 && i > 0;
      RowSum<T, 2> means{};
      row.sweep(dx ? 2 : 1, index, {g, x}, {T(0), T(0)}, [&](auto at) {
        if (at.is_new) {  // v becomes h and x̂
          // From halves, since the difference of large numbers could overflow.
          row.each([&](int k) { row.v[1][k] = (row.v[1][k] * T(0.5) - m / 2) * (scale * 2); });
          if (at.pass == 0) {
            row.each([&](int k) {
              weight_sum[k] += row.v[0][k] * row.v[1][k];
              bias_sum[k] += row.v[0][k];
            });
          }
          if (weight) {
            T w[Row::kCount] = {};
            row.load_row(weight, w);
            row.each([&](int k) { row.v[0][k] *= w[k]; });
          }
        }
        if (at.pass == 0) {
          means.add(row, at, [&](int k, T(&terms)[2]) {
            terms[0] = row.v[0][k];
            terms[1] = row.v[0][k] * row.v[1][k];
          });
          if (stores_sums) {
            T* const p = sums + team * 2 * n;
            store_sums(row, p, adds_sums, weight_sum);
            store_sums(row, p + n, adds_sums, bias_sum);
          }
        } else {
          const T h_mean = T(means.sum[0] * inverse_n), projection = T(means.sum[1] * inverse_n);
          row.each([&](int k) { row.v[0][k] = scale * ((row.v[0][k] - h_mean) - row.v[1][k] * projection); });
          row.store_matrix(dx, row.v[0]);
        }
      });
    }
  }
};

template <class T>
void layer_norm(int64_t rows, int64_t n, const T* x, const T* weight, const T* bias, double eps, T* y, T* mean,
                T* rstd) {
  launch_rows<T, 1>("layer_norm", rows, n, {x, weight, bias, y},
                    LayerNorm<T>{x, weight, bias, eps, 1 / double(n), y, mean, rstd, n});
}

template <class T>
void layer_norm_backward(int64_t rows, int64_t n, const T* g, const T* x, const T* weight, const T* mean, const T* rstd,
                         T* dx, double* dweight, double* dbias) {
  constexpr const char* name = "layer_norm_backward";
  if (rows == 0) return;
  const bool with_sums = dweight || dbias;
  const RowPlan plan = plan_rows<T, 2>(rows, n, dx ? 2 : 1, {g, x, weight, dx});
  const int each = with_sums ? rows_per_team(rows, plan) : 1;
  const int64_t teams = ceil_div(rows, int64_t(each));
  const Workspace sums(with_sums ? teams * 2 * n * sizeof(T) : 0);
  const LayerNormBackward<T> op{g,    x, weight,     mean,  rstd, dx, sums.as<T>(), 1 / double(n),
                                rows, n, plan.tiles, teams, each};
  launch_rows<T, 2>(name, plan, teams, op);
  if (with_sums) launch_add_sums(name, teams, 2 * n, n, sums.as<const T>(), dweight, dbias);
}

template <class T>
void fill(RowKernels<T>& k) {
  k.layer_norm = layer_norm<T>;
  k.layer_norm_backward = layer_norm_backward<T>;
}

}  // namespace

void fill_layer_norm(Table& table) {
  fill(table.rows_f32);
  fill(table.rows_f64);
}

}  // namespace steep::cuda
