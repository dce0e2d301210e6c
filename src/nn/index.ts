import { register } from './config'
import { Graph } from './graph'
import * as layers from './layers'
import { Module } from './module'

export { fromConfig, type ModuleClass, type ModuleConfig, register, toConfig } from './config'
export { apply, applyAll, Graph, input, Node, type Nodes } from './graph'
export * as init from './init'
export { type ConfigValue, Layer, type WeightOptions } from './layer'
export * from './layers'
export { type ForwardHook, type ForwardPreHook, type ForwardShapes, Module } from './module'
export { type QuantizeOptions, quantize } from './quantize'
export type { Regularizer } from './regularizers'
export * as regularizers from './regularizers'
export { type LoadModelOptions, loadModel, type SavedModel, type SaveModelOptions, type Steps, saveModel } from './save'
export type { SummaryInput } from './summary'

// Every layer can be made from its configuration.
for (const one of Object.values(layers)) {
  if (typeof one === 'function' && one.prototype instanceof Module) register(one as never)
}
register(Graph)
