import {
  celu,
  chunk,
  elu,
  gelu,
  hardSigmoid,
  hardSwish,
  hardTanh,
  leakyRelu,
  logSigmoid,
  logSoftmax,
  mish,
  prelu,
  relu,
  relu6,
  selu,
  sigmoid,
  silu,
  softmax,
  softplus,
  softsign,
  tanh,
} from '../ops.generated'
import { sizeOf } from '../shape'
import type { Parameter, Tensor } from '../tensor'
import { lastAxis, oneOf, whole } from './check'
import { Layer } from './layer'
import type { ForwardShapes } from './module'
import { filled } from './parameters'

/** A function of each element, or of each vector along an axis; the shape stays. */
abstract class Activation extends Layer {
  override flops({ output }: ForwardShapes): number {
    return sizeOf(output)
  }
}

/** max(x, 0). */
export class ReLU extends Activation {
  forward(x: Tensor): Tensor {
    return relu(x)
  }
}

/** min(max(x, 0), 6). */
export class ReLU6 extends Activation {
  forward(x: Tensor): Tensor {
    return relu6(x)
  }
}

/** x where it is positive, `slope` · x elsewhere (Maas et al., 2013). */
export class LeakyReLU extends Activation {
  constructor(readonly options: { slope?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return leakyRelu(x, this.options)
  }
}

/**
 * x where it is positive, `weight` · x elsewhere, with a trained weight for all channels or for each, the last axis
 * (He et al., 2015).
 */
export class PReLU extends Activation {
  readonly weight: Parameter

  constructor(
    readonly channels = 1,
    options: { initial?: number } = {},
  ) {
    super(channels, options)
    this.weight = filled([whole(this.label, 'channels', channels)], options.initial ?? 0.25)
  }

  forward(x: Tensor): Tensor {
    if (this.channels > 1) lastAxis(this.label, x, this.channels)
    return prelu(x, this.weight)
  }
}

/** x where it is positive, `alpha` · (eˣ − 1) elsewhere (Clevert et al., 2016). */
export class ELU extends Activation {
  constructor(readonly options: { alpha?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return elu(x, this.options)
  }
}

/** x where it is positive, `alpha` · (e^(x / alpha) − 1) elsewhere (Barron, 2017). */
export class CELU extends Activation {
  constructor(readonly options: { alpha?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return celu(x, this.options)
  }
}

/** The scaled ELU that keeps mean and variance (Klambauer et al., 2017). */
export class SELU extends Activation {
  forward(x: Tensor): Tensor {
    return selu(x)
  }
}

/** x Φ(x), with the normal distribution function Φ or its approximation by tanh (Hendrycks and Gimpel, 2016). */
export class GELU extends Activation {
  constructor(readonly options: { approximate?: 'none' | 'tanh' } = {}) {
    super(options)
    oneOf(this.label, 'approximate', options.approximate ?? 'none', ['none', 'tanh'])
  }
  forward(x: Tensor): Tensor {
    return gelu(x, this.options)
  }
}

/** x · sigmoid(x), also called swish (Ramachandran et al., 2017). */
export class SiLU extends Activation {
  forward(x: Tensor): Tensor {
    return silu(x)
  }
}

/** x · tanh(softplus(x)) (Misra, 2019). */
export class Mish extends Activation {
  forward(x: Tensor): Tensor {
    return mish(x)
  }
}

/** x · min(max(x + 3, 0), 6) / 6 (Howard et al., 2019). */
export class Hardswish extends Activation {
  forward(x: Tensor): Tensor {
    return hardSwish(x)
  }
}

/** min(max(x + 3, 0), 6) / 6. */
export class Hardsigmoid extends Activation {
  forward(x: Tensor): Tensor {
    return hardSigmoid(x)
  }
}

/** x kept between `min` and `max`. */
export class Hardtanh extends Activation {
  constructor(readonly options: { min?: number; max?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return hardTanh(x, this.options)
  }
}

/** log(1 + e^(beta x)) / beta; x itself where beta · x is over `threshold`. */
export class Softplus extends Activation {
  constructor(readonly options: { beta?: number; threshold?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return softplus(x, this.options)
  }
}

/** x / (1 + |x|). */
export class Softsign extends Activation {
  forward(x: Tensor): Tensor {
    return softsign(x)
  }
}

/** 1 / (1 + e⁻ˣ). */
export class Sigmoid extends Activation {
  forward(x: Tensor): Tensor {
    return sigmoid(x)
  }
}

/** The logarithm of the sigmoid. */
export class LogSigmoid extends Activation {
  forward(x: Tensor): Tensor {
    return logSigmoid(x)
  }
}

/** The hyperbolic tangent. */
export class Tanh extends Activation {
  forward(x: Tensor): Tensor {
    return tanh(x)
  }
}

/** eˣ / Σ eˣ along an axis, by default the last. */
export class Softmax extends Activation {
  constructor(readonly options: { axis?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return softmax(x, this.options)
  }
}

/** The logarithm of the softmax along an axis, by default the last. */
export class LogSoftmax extends Activation {
  constructor(readonly options: { axis?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return logSoftmax(x, this.options)
  }
}

/** Halves of an axis, the first times a function of the second (Dauphin et al., 2017; Shazeer, 2020). The axis is halved. */
abstract class Gated extends Activation {
  constructor(readonly options: { axis?: number } = {}) {
    super(options)
  }
  protected abstract gate(x: Tensor): Tensor
  forward(x: Tensor): Tensor {
    const [value, gate] = chunk(x, 2, { axis: this.options.axis ?? -1 }) as [Tensor, Tensor]
    return value.mul(this.gate(gate))
  }
}

/** a · sigmoid(b) for the halves a and b of the last or another axis. */
export class GLU extends Gated {
  protected gate(x: Tensor): Tensor {
    return sigmoid(x)
  }
}

/** a · relu(b) for the halves a and b of the last or another axis. */
export class ReGLU extends Gated {
  protected gate(x: Tensor): Tensor {
    return relu(x)
  }
}

/** a · gelu(b) for the halves a and b of the last or another axis. */
export class GEGLU extends Gated {
  protected gate(x: Tensor): Tensor {
    return gelu(x)
  }
}

/** a · silu(b) for the halves a and b of the last or another axis. */
export class SwiGLU extends Gated {
  protected gate(x: Tensor): Tensor {
    return silu(x)
  }
}
