// The emulator's environment variables, read once.
#pragma once
#include <cstddef>
#include <cstdint>

namespace steep::cuda::emulator {

enum class Order { forward, reverse, random };

struct Settings {
  Order order = Order::forward;  // STEEP_EMULATOR_SCHEDULE=forward|reverse|random[:seed]
  uint64_t seed = 1;
  bool eager = false;                  // STEEP_EMULATOR_EAGER=1: work is done when it is queued
  bool guard = true;                   // STEEP_EMULATOR_GUARD=0: the host may read and write device memory
  int devices = 2;                     // STEEP_EMULATED_DEVICES
  int capability = 90;                 // STEEP_EMULATED_CAPABILITY: 90 is 9.0
  int driver = 13000;                  // STEEP_EMULATED_DRIVER: 13000 is 13.0, 0 is none
  size_t memory = size_t(2048) << 20;  // STEEP_EMULATED_MEMORY, in MiB, of each device
};
const Settings& settings();

}  // namespace steep::cuda::emulator
