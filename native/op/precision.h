#pragma once
#include <initializer_list>

#include "op/row.h"

namespace anneal {

/// In what an op computes under autocast: what its inputs are (Keep); 16 bits, which is faster and precise enough for
/// products; or float32, for what 16 bits are too coarse for.
enum class Precision : uint8_t { Keep, Low, Full };

/// Says so of the ops called `names`; written beside them.
struct ComputeIn {
  ComputeIn(Precision precision, std::initializer_list<const char*> names);
};
Precision precisionOf(const Row& row);

/// Says that under autocast to 8 bits the op called `name` is computed as the one called `form`.
struct Fp8Form {
  Fp8Form(const char* name, const char* form);
};
/// The row to compute instead of `row`: that one itself unless there is a form in 8 bits, and they are wanted.
const Row& inWantedForm(const Row& row);
/// Whether this thread's calls want them, beside autocast.
void wantFp8(bool wanted);

/// Inputs as an op of that precision takes them; `low` is the 16-bit dtype.
Tensors recast(Inputs in, Precision precision, DType low);

/// Turns autocast off for as long as this lives.
class AutocastOff {
 public:
  AutocastOff();
  ~AutocastOff();

 private:
  DType before_;
};

}  // namespace anneal
