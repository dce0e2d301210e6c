import { dropout, full } from '../ops.generated'
import type { Tensor } from '../tensor'
import { spatialInput, within } from './check'
import { Layer } from './layer'

/** Sets elements to 0 with probability `p` while training, and scales the others by 1 / (1 − p) (Srivastava et al., 2014). */
export class Dropout extends Layer {
  constructor(readonly p = 0.5) {
    super(p)
    within(this.label, 'p', p, 0, 1)
  }

  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? dropout(x, { p: this.p }) : x
  }
}

/** Sets whole channels to 0 with probability `p` while training, and scales the others (Tompson et al., 2015). */
abstract class SpatialDropout extends Layer {
  constructor(
    private readonly rank: number,
    readonly p: number,
  ) {
    super(p)
    within(this.label, 'p', p, 0, 1)
  }

  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank)
    if (!this.training || this.p === 0) return x
    const mask = full(
      x.shape.map((size, axis) => (axis === 0 || axis === this.rank + 1 ? size : 1)),
      1,
      { dtype: x.dtype },
    )
    return x.mul(dropout(mask, { p: this.p }))
  }
}

/** Drops whole channels of [N, L, C]. */
export class Dropout1d extends SpatialDropout {
  constructor(p = 0.5) {
    super(1, p)
  }
}

/** Drops whole channels of images [N, H, W, C]. */
export class Dropout2d extends SpatialDropout {
  constructor(p = 0.5) {
    super(2, p)
  }
}

/** Drops whole channels of volumes [N, D, H, W, C]. */
export class Dropout3d extends SpatialDropout {
  constructor(p = 0.5) {
    super(3, p)
  }
}
