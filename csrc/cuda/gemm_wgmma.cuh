// Matrix products by Hopper's tensor cores (sm_90a). A block stays on its multiprocessor and goes through tiles of C.
// One of its warpgroups, the producer, has the copy engine bring tiles of A and B into a ring of buffers in shared
// memory; two others, the consumers, multiply them there, each the half of a tile's rows, and keep the sums in
// registers. They tell each other by two mbarriers for each buffer: it is full, it is empty. Two blocks of a cluster
// have each half of a tile of B brought to both of them.
//
// Sums are float32, cut off where tensor cores round. Float32 operands are taken as tf32, of which 10 bits of fraction
// are multiplied; or as three bfloat16 each, whose sum they are, and six of the nine products: those left out are about
// 2^-25 of the whole. There the tensor cores add up a buffer's products only, and float32 additions do the rest.
#pragma once
#include "gemm_wgmma_store.cuh"
#include "ptx_cluster.cuh"
#include "ptx_wgmma.cuh"

namespace steep::cuda {
namespace {

constexpr int kWarpgroup = 128, kConsumers = 2, kWgmmaThreads = (1 + kConsumers) * kWarpgroup;
/// Of a thread: at first, which is as many as there are for so many threads, and later. take_registers would wait
/// forever for what nobody gives.
constexpr int kRegisters = 65536 / kWgmmaThreads / 8 * 8, kProducerRegisters = 40, kConsumerRegisters = 232;
static_assert(kProducerRegisters + kConsumers * kConsumerRegisters <= (1 + kConsumers) * kRegisters);

/// Operands as the copy engine sees them: matrices that lie one behind another, the pieces of all of them in turn.
struct Planes {
  int matrix, piece;  // steps to the next one's; 0 where there is one for all
};

/// What a launch knows beside the product, whose row_tiles are those of clusters.
struct WgmmaLaunch {
  Planes a, b;
  float* parts;    // sums of parts of k, (part, matrix, row, column), where there are several
  bool by_engine;  // C can be stored by the copy engine
  uint32_t items;  // what there is to do: a cluster's tiles of all matrices, once per part of k
};

/// Calls f(place) for what the block has to do, one after another.
template <WgmmaTile tile, class T, class F>
__device__ void each_place(const Product<T>& g, uint32_t items, F f) {
  for (uint32_t item = blockIdx.x / tile.cluster; item < items; item += gridDim.x / tile.cluster) {
    Place place = find_place(g, item);
    if constexpr (tile.cluster > 1) place.row = place.row * tile.cluster + cluster_rank();
    f(place);
  }
}

/// The buffers, and which of them is next. `phase` is the parity of the phases that end when it is full.
template <class In, WgmmaTile tile>
struct Ring {
  static constexpr int kItem = std::is_same_v<In, tf32> ? 4 : 2, kDepth = kWidth / kItem;  // steps of k in a buffer
  static constexpr int kA = tile.m * kWidth, kB = tile.n * kWidth, kBytes = tile.pieces * (kA + kB);

  unsigned char* buffers;  // aligned to 1024 bytes
  Mbarrier *full, *empty;
  int stage = 0;
  uint32_t phase = 0;

  __device__ void next() {
    if (++stage == tile.stages) stage = 0, phase ^= 1;
  }
  __device__ unsigned char* a(int piece = 0) const { return buffers + stage * kBytes + piece * kA; }
  __device__ unsigned char* b(int piece = 0) const { return buffers + stage * kBytes + tile.pieces * kA + piece * kB; }
};

/// How many buffers a part of k takes.
template <class T>
__device__ int count_steps(const Product<T>& g, int part, int depth) {
  const int64_t length = min(g.split.depth, g.k - part * g.split.depth);
  return int((length + depth - 1) / depth);
}

/// Copies `rows` rows of an operand and one buffer's steps of k, to all of `cluster` blocks if there are several. What
/// lies outside becomes zeros.
template <Major major, int rows, int cluster>
__device__ void load_tile(unsigned char* to, const TensorMap& map, Mbarrier* full, int row, int k, int plane) {
  const auto load = [&](unsigned char* at, int x, int y) {
    if constexpr (cluster > 1)
      tma_load_multicast(at, &map, full, uint16_t((1 << cluster) - 1), x, y, plane);
    else
      tma_load(at, &map, full, x, y, plane);
  };
  if constexpr (major == Major::k) {
    load(to, k, row);
  } else {
    constexpr int kEach = kWidth / 2;
#pragma unroll
    for (int i = 0; i < rows / kEach; ++i) load(to + i * kEach * kWidth, row + i * kEach, k);
  }
}

template <Major a_major, Major b_major, class In, WgmmaTile tile, class T>
__device__ void produce(Ring<In, tile> ring, const Product<T>& g, const WgmmaLaunch& launch, const TensorMap& a,
                        const TensorMap& b) {
  using R = Ring<In, tile>;
  tma_prefetch(&a);
  tma_prefetch(&b);
  constexpr int kShare = tile.n / tile.cluster;  // rows of B's tile that this block has brought
  const int share = tile.cluster > 1 ? int(cluster_rank()) * kShare : 0;
  each_place<tile>(g, launch.items, [&](const Place& place) {
    const int steps = count_steps(g, place.part, R::kDepth), matrix = int(place.matrix);
    int k = int(place.part * g.split.depth);
    for (int i = 0; i < steps; ++i, k += R::kDepth, ring.next()) {
      Mbarrier* const full = ring.full + ring.stage;
      mbarrier_wait(ring.empty + ring.stage, ring.phase ^ 1);
      mbarrier_arrive_expect(full, R::kBytes);
#pragma unroll
      for (int piece = 0; piece < tile.pieces; ++piece) {
        load_tile<a_major, tile.m, 1>(ring.a(piece), a, full, int(place.row) * tile.m, k,
                                      matrix * launch.a.matrix + piece * launch.a.piece);
        load_tile<b_major, kShare, tile.cluster>(ring.b(piece) + share * kWidth, b, full,
                                                 int(place.column) * tile.n + share, k,
                                                 matrix * launch.b.matrix + piece * launch.b.piece);
      }
    }
  });
}

/// A tile in a buffer: 128 bytes of k in each row, or 64 rows of 16 bits in each step of k.
template <Major major>
__device__ uint64_t tile_descriptor(const unsigned char* tile) {
  constexpr int kEight = 8 * kWidth;
  return matrix_descriptor(tile, Swizzle::bytes_128, major == Major::k ? 0 : kWidth / 2 * kWidth, kEight);
}
/// From 32 bytes of k to the next.
template <Major major>
constexpr int kNextProduct = major == Major::k ? 32 : 16 * kWidth;

/// sums = A·B of pieces of the current buffer, or += with `add`.
template <Major a_major, Major b_major, class In, WgmmaTile tile>
__device__ void multiply_pieces(float (&sums)[tile.n / 2], const Ring<In, tile>& ring, int half, int a_piece,
                                int b_piece, bool add) {
  const uint64_t a = tile_descriptor<a_major>(ring.a(a_piece) + half * (tile.m / kConsumers) * kWidth);
  const uint64_t b = tile_descriptor<b_major>(ring.b(b_piece));
#pragma unroll
  for (int i = 0; i < kWidth / 32; ++i)
    wgmma<In, tile.n, a_major, b_major>(sums, advance(a, i * kNextProduct<a_major>),
                                        advance(b, i * kNextProduct<b_major>), add || i);
}

/// The warp has read a buffer, which belongs to whoever fills it.
template <WgmmaTile tile>
__device__ void release_buffer(Mbarrier* empty) {
  const uint32_t lane = threadIdx.x % 32;
  if constexpr (tile.cluster == 1) {
    if (lane == 0) mbarrier_arrive(empty);
  } else {
    if (lane < tile.cluster) mbarrier_arrive_at(empty, lane);
  }
}

/// A consumer's sums of a tile: those of `steps` buffers.
template <Major a_major, Major b_major, class In, WgmmaTile tile>
__device__ void add_products(float (&sums)[tile.n / 2], Ring<In, tile>& ring, int steps, int half) {
  if constexpr (tile.pieces == 1) {
    Mbarrier* before = nullptr;
    for (int i = 0; i < steps; ++i, ring.next()) {
      mbarrier_wait(ring.full + ring.stage, ring.phase);
      wgmma_fence();
      multiply_pieces<a_major, b_major>(sums, ring, half, 0, 0, i > 0);
      wgmma_commit();
      wgmma_wait<1>();
      if (before) release_buffer<tile>(before);
      before = ring.empty + ring.stage;
    }
    wgmma_wait<0>();
    if (before) release_buffer<tile>(before);
  } else {
#pragma unroll
    for (float& sum : sums) sum = 0;
    for (int i = 0; i < steps; ++i, ring.next()) {
      float products[tile.n / 2];
      mbarrier_wait(ring.full + ring.stage, ring.phase);
      wgmma_fence();
      // The small ones first: what they are cut off at goes by the sum so far.
      multiply_pieces<a_major, b_major>(products, ring, half, 2, 0, false);
      multiply_pieces<a_major, b_major>(products, ring, half, 0, 2, true);
      multiply_pieces<a_major, b_major>(products, ring, half, 1, 1, true);
      multiply_pieces<a_major, b_major>(products, ring, half, 1, 0, true);
      multiply_pieces<a_major, b_major>(products, ring, half, 0, 1, true);
      multiply_pieces<a_major, b_major>(products, ring, half, 0, 0, true);
      wgmma_commit();
      wgmma_wait<0>();
      release_buffer<tile>(ring.empty + ring.stage);
#pragma unroll
      for (int j = 0; j < tile.n / 2; ++j) sums[j] += products[j];
    }
  }
}

template <class In, class T, WgmmaTile tile>
constexpr int kWgmmaShared = 1024 + tile.stages * Ring<In, tile>::kBytes + kConsumers * 4 * TileStore<T, tile>::kBytes;

template <class In, class T, Major a_major, Major b_major, WgmmaTile tile>
__device__ __forceinline__ void multiply_by_warpgroups(const Product<T>& g, const WgmmaLaunch& launch,
                                                       const TensorMap& a, const TensorMap& b, const TensorMap& c) {
  using R = Ring<In, tile>;
  STEEP_DYNAMIC_SHARED(unsigned char, memory);
  STEEP_SHARED(Mbarrier, full, tile.stages);
  STEEP_SHARED(Mbarrier, empty, tile.stages);
  unsigned char* const buffers = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  if (threadIdx.x == 0) {
    for (int i = 0; i < tile.stages; ++i) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, kConsumers * 4 * tile.cluster);
    }
    fence_mbarrier_init();
  }
  const auto meet = [] {
    if constexpr (tile.cluster > 1) {
      cluster_arrive();
      cluster_wait();
    } else {
      __syncthreads();
    }
  };
  meet();
  R ring{buffers, full, empty};
  const int warpgroup = int(threadIdx.x) / kWarpgroup;
  if (warpgroup == 0) {
    give_registers<kProducerRegisters>();
    if (threadIdx.x == 0) produce<a_major, b_major>(ring, g, launch, a, b);
  } else {
    take_registers<kConsumerRegisters>();
    const int half = warpgroup - 1, warp = int(threadIdx.x) % kWarpgroup / 32;
    unsigned char* const staging = buffers + tile.stages * R::kBytes + (half * 4 + warp) * TileStore<T, tile>::kBytes;
    each_place<tile>(g, launch.items, [&](const Place& place) {
      float sums[tile.n / 2];
      add_products<a_major, b_major>(sums, ring, count_steps(g, place.part, R::kDepth), half);
      const int64_t row = int64_t(place.row) * tile.m + half * (tile.m / kConsumers) + warp * 16;
      const TileStore<T, tile> to{g, launch.parts, place, row};
      if (tile.pieces == 1 && launch.by_engine)
        to.store_by_engine(sums, staging, c);
      else
        to.store(sums, reinterpret_cast<float*>(staging));
    });
    if (threadIdx.x % 32 == 0) tma_wait_read<0>();
  }
  if constexpr (tile.cluster > 1) {
    __syncwarp();
    meet();  // the other block has no more to do with this one's memory
  }
}

/// nvcc takes no struct as a parameter of a kernel's template.
template <class In, class T, Major a_major, Major b_major, int m, int n, int stages, int pieces, int cluster>
__global__ void __launch_bounds__(kWgmmaThreads, 1)
    warpgroup_kernel(const __grid_constant__ Product<T> g, const __grid_constant__ WgmmaLaunch launch,
                     const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                     const __grid_constant__ TensorMap c) {
  if constexpr (kWgmma)
    multiply_by_warpgroups<In, T, a_major, b_major, WgmmaTile{m, n, stages, pieces, cluster}>(g, launch, a, b, c);
}
template <class In, class T, Major a_major, Major b_major, WgmmaTile tile>
constexpr auto kernel_of =
    warpgroup_kernel<In, T, a_major, b_major, tile.m, tile.n, tile.stages, tile.pieces, tile.cluster>;

}  // namespace
}  // namespace steep::cuda
