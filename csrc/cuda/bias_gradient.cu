// What the backward pass of a linear layer needs in front of its products, by one pass over the gradient: dz = g·f'(y),
// where f is the layer's activation and y its result, and the column sums of dz, which are the bias's gradient.
#include <bit>

#include "../ops/activations.h"
#include "../ops/unary.h"
#include "launch.cuh"
#include "table.h"
#include "vec.cuh"

namespace steep::cuda {
void fill_bias_gradient(Table& table);

namespace {

constexpr int kThreads = 256;  // of a block: up to 32 columns, and so many rows at a time
constexpr int kLeast = 2048;   // elements of a block: with fewer the sums of parts would cost as much as they save

/// What a launch is given. Halves are computed as float32.
template <class T>
struct Columns {
  using Number = std::conditional_t<sizeof(T) == 2, float, T>;
  int64_t rows, n, each;  // rows of a block
  const T *g, *y;
  T *dz, *dbias;
  double* parts;  // [blocks along the rows][n], or null if a block takes all rows
};

template <class T, class Op>
__global__ void __launch_bounds__(kThreads) bias_gradient(const __grid_constant__ Columns<T> c, Op op) {
  using Number = typename Columns<T>::Number;
  STEEP_SHARED(double, sums, kThreads);
  const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t begin = int64_t(blockIdx.y) * c.each, end = min(begin + c.each, c.rows);
  double sum = 0;
  if (column < c.n) {
#pragma unroll 4
    for (int64_t row = begin + threadIdx.y; row < end; row += blockDim.y) {
      const int64_t at = row * c.n + column;
      const Vec<Number> slope = op.df(Vec<Number>(0), Vec<Number>(Number(c.y[at])));
      const T dz = T((Vec<Number>(Number(c.g[at])) * slope).v);
      c.dz[at] = dz;
      sum += double(Number(dz));
    }
  }
  sums[threadIdx.y * blockDim.x + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= c.n) return;
#pragma unroll 4
  for (unsigned i = 1; i < blockDim.y; ++i) sum += sums[i * blockDim.x + threadIdx.x];
  if (c.parts)
    c.parts[int64_t(blockIdx.y) * c.n + column] = sum;
  else
    c.dbias[column] = T(sum);
}

/// Adds the parts in their order.
template <class T>
__global__ void __launch_bounds__(kThreads) add_parts(int64_t n, int64_t count, const double* parts, T* dbias) {
  const int64_t column = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= n) return;
  double sum = 0;
#pragma unroll 4
  for (int64_t i = 0; i < count; ++i) sum += parts[i * n + column];
  dbias[column] = T(sum);
}

template <class T>
void run(Activation activation, int64_t rows, int64_t n, const T* g, const T* y, T* dz, T* dbias) {
  constexpr const char* name = "linear_backward";
  if (n == 0) return;
  const unsigned width = std::bit_ceil(unsigned(std::min<int64_t>(n, 32)));
  const int64_t strips = ceil_div<int64_t>(n, width);
  const int64_t busy = ceil_div<int64_t>(device_limits().multiprocessors * 8, strips);
  const int64_t blocks = std::clamp<int64_t>(std::min(busy, rows * width / kLeast), 1, 65535);
  const Workspace parts(blocks > 1 ? size_t(blocks * n) * sizeof(double) : 0);
  const Columns<T> c{rows, n, ceil_div(rows, blocks), g, y, dz, dbias, parts.as<double>()};
  const auto launch_with = [&]<class Op>(Op op) {
    launch(name, bias_gradient<T, Op>, dim3(unsigned(strips), unsigned(blocks)), dim3(width, kThreads / width), 0, c,
           op);
  };
  if (activation == Activation::relu) launch_with(Relu{});
  if (activation == Activation::sigmoid) launch_with(Sigmoid{});
  if (activation == Activation::tanh) launch_with(Tanh{});
  if (blocks > 1)
    launch(name, add_parts<T>, unsigned(ceil_div<int64_t>(n, kThreads)), kThreads, 0, n, blocks, parts.as<double>(),
           dbias);
}

template <class T>
void run_any(Activation activation, int64_t rows, int64_t n, const void* g, const void* y, void* dz, void* dbias) {
  run(activation, rows, n, static_cast<const T*>(g), static_cast<const T*>(y), static_cast<T*>(dz),
      static_cast<T*>(dbias));
}

}  // namespace

void fill_bias_gradient(Table& table) {
  table.bias_gradient = [](DType t, Activation activation, int64_t rows, int64_t n, const void* g, const void* y,
                           void* dz, void* dbias) {
    const auto run = t == DType::float32    ? run_any<float>
                     : t == DType::float64  ? run_any<double>
                     : t == DType::bfloat16 ? run_any<bfloat16>
                                            : run_any<float16>;
    run(activation, rows, n, g, y, dz, dbias);
  };
}

}  // namespace steep::cuda
