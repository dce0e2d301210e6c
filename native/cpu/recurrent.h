#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace anneal::cpu {

/// What a step computes from W_ih x + b_ih and W_hh h + b_hh.
enum class Cell { Tanh, Relu, Lstm, Gru };

/// Rows of the weights for each unit: LSTM i, f, g, o; GRU r, z, n.
constexpr int64_t weightRows(Cell cell) { return cell == Cell::Lstm ? 4 : (cell == Cell::Gru ? 3 : 1); }
/// Values that a step makes for each unit: the gates, and for GRU the product W_hn h + b_hn.
constexpr int64_t gateSlots(Cell cell) { return cell == Cell::Lstm || cell == Cell::Gru ? 4 : 1; }

/// One layer in one direction over x [N, T, C]; contiguous, float32 or float64. Where `lengths` is given, steps from
/// lengths[n] on keep the state of row n. Absent biases and states are null.
struct Recurrence {
  Cell cell = Cell::Tanh;
  bool reverse = false;
  DType dtype = DType::Float32;
  int64_t batch = 0, steps = 0, inputs = 0, units = 0;
  const int64_t* lengths = nullptr;
  const void *x = nullptr, *weightIh = nullptr, *weightHh = nullptr, *biasIh = nullptr, *biasHh = nullptr;
  const void *h0 = nullptr, *c0 = nullptr;  // [N, H]
  void* y = nullptr;                        // [N, T, H]
  void* gates = nullptr;                    // [N, T, gateSlots * H]; y itself for cells with one slot
  void* cells = nullptr;                    // [N, T, H], LSTM only
};

/// Fills y, gates and cells, and the final states h and c [N, H].
struct RecurrenceForward : Recurrence {
  void *h = nullptr, *c = nullptr;
};
void recurrence(const RecurrenceForward& r);

/// From the gradients of y, h and c (null for none): those of what the gates are made of, before the activations, and
/// of the first states; and the state before each step.
struct RecurrenceBackward : Recurrence {
  const void *gradY = nullptr, *gradH = nullptr, *gradC = nullptr;
  void* gradGates = nullptr;  // [N, T, gateSlots * H]
  void* previous = nullptr;   // [N, T, H]
  void *gradH0 = nullptr, *gradC0 = nullptr;
};
void recurrenceBackward(const RecurrenceBackward& r);

}  // namespace anneal::cpu
