// What peers share of a workload: initial weights, and files for onnxruntime.
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { python } from './peers.mjs'

const at = path => fileURLToPath(new URL(path, import.meta.url))
const folder = at('../build/bench')

async function printed(command, args) {
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 2 ** 26 })
  return JSON.parse(stdout.trim().split('\n').at(-1))
}

/** Adds `weights` (a file) and `parameters` (their number) to a network's workload, and with `onnx` the files for onnxruntime. */
export async function prepare(workload, { onnx }) {
  if (!workload.network) return
  mkdirSync(folder, { recursive: true })
  workload.weights = `${folder}/${workload.name}.safetensors`
  const { parameters } = await printed(process.execPath, [
    at('weights.mjs'),
    workload.weights,
    JSON.stringify(workload),
  ])
  workload.parameters = parameters
  if (onnx && !workload.train && !workload.autocast) {
    try {
      workload.onnx = await printed(python, [at('onnx_files.py'), folder, JSON.stringify(workload)])
    } catch (error) {
      console.error(
        `no files for onnxruntime: ${String(error.stderr ?? error)
          .trim()
          .split('\n')
          .at(-1)}`,
      )
    }
  }
}
