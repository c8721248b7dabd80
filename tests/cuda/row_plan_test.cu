// Which way rows of a length take, and that a way's elements stay where its plan says.
#include "cuda/rows.cuh"
#include "rows_testing.h"

using namespace steep;
using namespace steep::cuda;
using namespace steep::testing;

// It has a name, as nvcc mistakes one without for that of the kernel that it is a template argument of.
namespace row_plan_test {

/// Overwrites its input in the first sweep, and stores in the second what it still has of it.
template <class T>
struct Remember {
  static constexpr int kPasses = 2;
  T *x, *y;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    row.sweep(kPasses, index, {x}, {T(0)}, [&](auto at) {
      const T zeros[Row::kCount] = {};
      if (at.pass == 0)
        row.store_matrix(x, zeros);
      else
        row.store_matrix(y, row.v[0]);
    });
  }
};
/// The same by clusters, whose blocks wait for each other once.
template <class T>
struct RememberInClusters : Remember<T> {
  static constexpr bool kClusters = true;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    double nothing[1] = {0};
    row.all_sum(nothing);
    Remember<T>::operator()(row, index);
  }
};

/// Rows longer than a tile are read from memory once as far as shared memory holds them.
template <class T>
void rows_are_kept() {
  const int64_t tile = kMostThreads * kPer<T, 1>, rows = 3;
  for (const int64_t n : {tile, 2 * tile, 2 * tile + 1, 3 * tile, 9 * tile - 4}) {
    const std::vector<T> x = random_normal<T>(rows * n, 5);
    const Guarded<T> in(x), out(x.size());
    const RowPlan plan = plan_rows<T, 1>(rows, n, 2, {in.data(), out.data()});
    CHECK(plan.kept < plan.tiles && plan.tiles == ceil_div(n, tile));
    if (device_limits().shared_bytes_per_block > 100'000) CHECK(plan.kept >= std::min<int64_t>(2, plan.tiles - 1));
    launch_rows<T, 1>("remember", rows, n, {in.data(), out.data()}, Remember<T>{in.data(), out.data()});
    std::vector<T> expected = x;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = plan.kept * tile; j < (plan.tiles - 1) * tile; ++j) expected[i * n + j] = 0;
    CHECK_SAME("what has been kept", (Size{rows, n}), out.host(__LINE__), expected);
  }
}

/// With clusters all of them are, up to a length.
template <class T>
void clusters_keep_rows() {
  if (device_limits().architecture < 90) return;
  const int64_t tile = kMostThreads * kPer<T, 1>, rows = 2;
  for (const int64_t n : {9 * tile - 4, 9 * tile + 1, 20 * tile + 12}) {
    const std::vector<T> x = random_normal<T>(rows * n, 5);
    const Guarded<T> in(x), out(x.size());
    CHECK((plan_rows<T, 1>(rows, n, 2, {in.data(), out.data()}, true).blocks > 1));
    launch_rows<T, 1>("remember", rows, n, {in.data(), out.data()}, RememberInClusters<T>{{in.data(), out.data()}});
    CHECK_SAME("what has been kept", (Size{rows, n}), out.host(__LINE__), x);
  }
}

TEST(rows_are_kept_f32) { rows_are_kept<float>(); }
TEST(rows_are_kept_f64) { rows_are_kept<double>(); }
TEST(clusters_keep_rows_f32) { clusters_keep_rows<float>(); }
TEST(clusters_keep_rows_f64) { clusters_keep_rows<double>(); }

/// Rows around every switch of the plan, on an H200 and on devices that have less.
TEST(plans_of_rows) {
  constexpr DeviceLimits h200{132, 227 << 10, 228 << 10, 90, 90, true},
      h200_by_ptx{132, 227 << 10, 228 << 10, 90, 80, false}, a100{108, 163 << 10, 164 << 10, 80, 80, false},
      turing{40, 64 << 10, 64 << 10, 75, 75, false};
  const RowFootprint forward{4, 1, 16, 2, 1024, true}, backward{4, 2, 8, 2, 1024, true},
      doubles{8, 1, 4, 2, 1024, true};
  struct Expected {
    int threads;
    int64_t tiles;
    int kept, blocks;
  };
  const auto is = [](const RowPlan& plan, Expected e) {
    return plan.threads == e.threads && plan.tiles == e.tiles && plan.kept == e.kept && plan.blocks == e.blocks;
  };
  const auto on = [&](const DeviceLimits& limits, const RowFootprint& of, int64_t n) {
    return plan_row(7, n, true, of, limits);
  };
  CHECK(is(on(h200, forward, 1), {1, 1, 0, 1}));
  CHECK(is(on(h200, forward, 5), {2, 1, 0, 1}));
  CHECK(is(on(h200, forward, 128), {32, 1, 0, 1}));
  CHECK(is(on(h200, forward, 132), {32, 1, 0, 1}));
  CHECK(is(on(h200, forward, 516), {64, 1, 0, 1}));
  CHECK(is(on(h200, forward, 8192), {512, 1, 0, 1}));
  CHECK(is(on(h200, forward, 8196), {512, 2, 1, 1}));
  CHECK(is(on(h200, forward, 32768), {512, 4, 3, 1}));
  CHECK(is(on(h200, forward, 32772), {512, 3, 2, 2}));
  CHECK(is(on(h200, forward, 65536), {512, 4, 3, 2}));
  CHECK(is(on(h200, forward, 65540), {512, 3, 2, 4}));
  CHECK(is(on(h200, forward, 131076), {512, 3, 2, 8}));
  CHECK(is(on(h200, forward, 262144), {512, 4, 3, 8}));
  CHECK(is(on(h200, forward, 262148), {512, 5, 4, 8}));
  CHECK(is(on(h200, forward, 524288), {512, 8, 7, 8}));
  CHECK(is(on(h200, forward, 524292), {512, 65, 3, 1}));  // too long: read again
  CHECK(is(on(h200, backward, 16384), {512, 4, 3, 1}));
  CHECK(is(on(h200, backward, 16388), {512, 3, 2, 2}));
  CHECK(is(on(h200, backward, 262144), {512, 8, 7, 8}));
  CHECK(is(on(h200, backward, 262148), {512, 65, 3, 1}));
  CHECK(is(on(h200, doubles, 16384), {512, 8, 7, 1}));
  CHECK(is(on(h200, doubles, 16386), {512, 5, 4, 2}));
  CHECK(is(on(h200, {4, 1, 16, 1, 1024, true}, 262144), {512, 32, 0, 1}));  // one sweep
  CHECK(is(on(h200, {4, 1, 16, 3, 1024, true}, 24576), {512, 3, 3, 1}));    // three: the last tile is kept, too
  CHECK(is(on(h200, {4, 1, 16, 3, 1024, true}, 24580), {512, 2, 2, 2}));
  CHECK(is(on(h200, {4, 1, 16, 2, 1024, false}, 262144), {512, 32, 3, 1}));  // not made for clusters
  CHECK(is(on(a100, forward, 262144), {512, 32, 2, 1}));
  CHECK(is(on(h200_by_ptx, forward, 262144), {512, 32, 3, 1}));  // by code of an architecture without clusters
  CHECK(is(on(turing, forward, 262144), {512, 32, 0, 1}));
  for (int64_t n = 129; n < 600'000; n += 4093)
    for (const RowFootprint& of : {forward, backward, doubles}) {
      const RowPlan plan = on(h200, of, n);
      const int64_t tile = int64_t(plan.threads) * of.per;
      CHECK(plan.slice * plan.blocks >= n && plan.tiles == ceil_div(plan.slice, tile));
      CHECK(plan.blocks == 1 || plan.slice % (16 / of.item_bytes) == 0);
      CHECK(plan.kept * tile * of.inputs * of.item_bytes + of.scratch_bytes <= h200.shared_bytes_per_block);
      CHECK(plan.vectors == (n % (16 / of.item_bytes) == 0));
    }
}

}  // namespace row_plan_test
