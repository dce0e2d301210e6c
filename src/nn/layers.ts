export * from './activations'
export {
  type AttentionOptions,
  MultiHeadAttention,
  type MultiHeadAttentionOptions,
  type RotaryOptions,
} from './attention'
export {
  Conv1d,
  Conv2d,
  Conv3d,
  type ConvOptions,
  ConvTranspose1d,
  ConvTranspose2d,
  ConvTranspose3d,
  type ConvTransposeOptions,
  type Sizes,
} from './conv'
export * from './dropout'
export * from './embedding'
export * from './linear'
export * from './merge'
export * from './normalization'
export * from './pooling'
export * from './positions'
export { QuantizedConv1d, QuantizedConv2d, QuantizedConv3d, QuantizedLinear } from './quantized'
export * from './recurrent'
export * from './sequential'
export * from './shapes'
export * from './transformer'
export * from './upsample'
