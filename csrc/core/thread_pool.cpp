#include "thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "errors.h"

namespace steep {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kSpins = 2000;  // about 40 µs: back-to-back calls find the workers awake

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

int default_threads() {
  const char* text = std::getenv("STEEP_NUM_THREADS");
  if (!text || !*text) return std::clamp(int(std::thread::hardware_concurrency()), 1, kMaxThreads);
  const std::string_view view(text);
  int n = 0;
  const auto [end, error] = std::from_chars(view.begin(), view.end(), n);
  if (error != std::errc() || end != view.end() || n < 1 || n > kMaxThreads)
    throw std::invalid_argument(
        message("STEEP_NUM_THREADS='", text, "' must be a whole number from 1 to ", kMaxThreads));
  return n;
}

int current_cpu() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

struct Worker {
  pthread_t thread;
  std::atomic<int> cpu{-1};  // where it last ran

#if defined(__linux__)
  /// Linux may wake a worker on the caller's own core, where it waits until the caller has done all the work, and leave
  /// it there for many milliseconds. Asks for any other core on which it may run. On machines of more cores than
  /// cpu_set_t counts, and where there is no other core, all stays as it is.
  void leave(int cpu_of_caller) {
    cpu_set_t now;
    if (cpu_of_caller < 0 || cpu != cpu_of_caller || pthread_getaffinity_np(thread, sizeof now, &now) != 0) return;
    if (!CPU_EQUAL(&now, &asked)) allowed = now;  // the user's choice, at first or meanwhile
    asked = allowed;
    CPU_CLR(cpu_of_caller, &asked);
    if (CPU_COUNT(&asked) > 0) pthread_setaffinity_np(thread, sizeof asked, &asked);
  }

 private:
  cpu_set_t allowed = {}, asked = {};
#else
  void leave(int) {}
#endif
};

struct Pool {
  std::atomic<bool> busy{false};
  // The job's number, and in the low 32 bits how many of its tasks nobody has claimed.
  std::atomic<uint64_t> ticket{0};
  std::atomic<uint32_t> sleepers{0}, wake{0};
  alignas(64) std::atomic<int64_t> done{0};
  Task task = nullptr;
  const void* context = nullptr;
  std::atomic<int> threads;
  std::deque<Worker> workers;
  std::mutex error_mutex;
  std::exception_ptr error;

  explicit Pool(int n) : threads(n) {}
  void run(int64_t index) {
    try {
      task(context, index);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }
  bool claim_and_run() {
    uint64_t t = ticket.load(std::memory_order_acquire);
    do {
      if (uint32_t(t) == 0) return false;
    } while (!ticket.compare_exchange_weak(t, t - 1, std::memory_order_acq_rel));
    run(int64_t(uint32_t(t)) - 1);  // the job cannot end before this task does: task and context stay
    done.fetch_add(1, std::memory_order_release);
    return true;
  }
  void work(Worker& self, int number) {
    for (;;) {
      bool ran = false;
      // Workers beyond the wanted number sleep until they are wanted again.
      if (number < threads) {
        for (int i = 0; i < kSpins && !(ran = claim_and_run()); ++i) pause();
      }
      if (ran) continue;
      const uint32_t seen = wake.load();
      self.cpu = current_cpu();
      sleepers.fetch_add(1);  // sequentially consistent: the caller sees this sleeper, or it sees the caller's ticket
      if (number >= threads || uint32_t(ticket.load()) == 0) wake.wait(seen);
      sleepers.fetch_sub(1);
    }
  }
  void start_workers() {
    while (int(workers.size()) < threads - 1) {
      try {
        Worker& worker = workers.emplace_back();
        std::thread thread([this, &worker, number = int(workers.size())] { work(worker, number); });
        worker.thread = thread.native_handle();
        thread.detach();
      } catch (const std::bad_alloc&) {
        return;
      } catch (const std::system_error&) {
        workers.pop_back();
        return;  // the system grants no more threads: the ones there are (the caller at least) do the work
      }
    }
  }
};

Pool* pool_instance = nullptr;

Pool& pool() {
  static const bool created = [] {
    pool_instance = new Pool(default_threads());  // never destroyed: detached workers use it until the process ends
    pthread_atfork(nullptr, nullptr, [] {
      pool_instance = new Pool(pool_instance->threads);  // the child has none of the workers, and may hold half a job
    });
    return true;
  }();
  (void)created;
  return *pool_instance;
}

}  // namespace

int num_threads() { return pool().threads; }

void set_num_threads(int n) {
  if (n < 1 || n > kMaxThreads)
    throw std::invalid_argument(message("set_num_threads: ", n, " is not a number from 1 to ", kMaxThreads));
  pool().threads = n;
}

void run_tasks(int64_t n, Task task, const void* context) {
  Pool& p = pool();
  if (n <= 1 || p.threads <= 1 || p.busy.exchange(true, std::memory_order_acquire)) {
    for (int64_t i = 0; i < n; ++i) task(context, i);
    return;
  }
  p.start_workers();
  p.task = task, p.context = context;
  p.done.store(0, std::memory_order_relaxed);
  p.ticket.store((((p.ticket.load() >> 32) + 1) << 32) | uint64_t(n));  // callers make far fewer than 2^32 tasks
  if (p.sleepers.load()) {
    const int cpu = current_cpu();
    for (Worker& worker : p.workers) worker.leave(cpu);
    p.wake.fetch_add(1);
    p.wake.notify_all();
  }
  while (p.claim_and_run()) {
  }
  while (p.done.load(std::memory_order_acquire) != n) pause();
  const std::exception_ptr error = std::exchange(p.error, nullptr);
  p.busy.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

}  // namespace steep
