// Errors in a warpgroup's products; a part of planted_bugs.cu.
#pragma once

using steep::bfloat16;

enum class WgmmaBug { none, no_wait, early_overwrite, no_fence, lone_warp };

/// 16 times the sums of B's columns, B (16, 64) being 1 … 64 in every row: A is 16 in all its elements.
template <WgmmaBug bug>
__global__ void column_sums(float* y) {
  STEEP_SHARED(bfloat16, a, 64 * 16);
  STEEP_SHARED(bfloat16, b, 64 * 16);
  const int t = int(threadIdx.x);
  for (int i = t; i < 64 * 16; i += kThreads) a[i] = bfloat16(16), b[i] = bfloat16(i % 64 / 8 + i / 128 * 8 + 1);
  fence_proxy_async();
  __syncthreads();
  float d[32];
  if (bug != WgmmaBug::no_fence) wgmma_fence();
  // Eight rows of 16 bytes of k, the other eight steps of k behind them, and so on.
  if (bug != WgmmaBug::lone_warp || t < 32)
    wgmma<bfloat16, 64>(d, matrix_descriptor(a, Swizzle::none, 128, 256), matrix_descriptor(b, Swizzle::none, 128, 256),
                        false);
  wgmma_commit();
  if (bug != WgmmaBug::no_wait && bug != WgmmaBug::early_overwrite) wgmma_wait<0>();
  if (bug == WgmmaBug::early_overwrite) b[t] = bfloat16(0), wgmma_wait<0>();
  if (t / 4 == 0)
    for (int i = 0; i < 32; i += 4) y[i * 2 + t * 2] = d[i], y[i * 2 + t * 2 + 1] = d[i + 1];
  if (bug == WgmmaBug::no_wait) wgmma_wait<0>();
}

template <WgmmaBug bug>
bool run_column_sums() {
  std::vector<float> expected;
  for (int column = 0; column < 64; ++column) expected.push_back(16 * 16 * float(column / 8 * 8 + column % 8 + 1));
  const Array<float> y(expected.size());
  launch("planted", column_sums<bug>, 1, kThreads, 0, y.p);
  return y.host() == expected;
}
template <bool bug>
bool wgmma_without_wait() {
  return run_column_sums<(bug ? WgmmaBug::no_wait : WgmmaBug::none)>();
}
template <bool bug>
bool wgmma_early_overwrite() {
  return run_column_sums<(bug ? WgmmaBug::early_overwrite : WgmmaBug::none)>();
}
template <bool bug>
bool wgmma_without_fence() {
  return run_column_sums<(bug ? WgmmaBug::no_fence : WgmmaBug::none)>();
}
template <bool bug>
bool wgmma_of_one_warp() {
  return run_column_sums<(bug ? WgmmaBug::lone_warp : WgmmaBug::none)>();
}
