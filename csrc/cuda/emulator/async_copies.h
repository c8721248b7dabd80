// The asynchronous copies (cp.async) of a thread.
#pragma once
#include <vector>

namespace steep::cuda::emulator {

class Schedule;

class AsyncCopies {
 public:
  void start(void* to, const void* from, int bytes, int valid, Schedule& schedule);
  void commit();
  /// Lands all but the newest groups.
  void wait(int groups);
  /// Lands what the schedule likes to.
  void progress(Schedule& schedule);
  void land_all();

 private:
  struct Copy {
    void* to;
    const void* from;
    int bytes, valid;
    int group;
  };
  bool take_first_before(int group, Copy& copy);
  int group() const;
  static void land(const Copy& copy);

  std::vector<Copy> under_way_;
  int group_ = 0;  // of the copies that aren't committed yet
};

}  // namespace steep::cuda::emulator
