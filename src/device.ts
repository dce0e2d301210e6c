import { refuseWhileCapturing } from './capturing'
import { native, throwLast } from './native'

/** A device: the processor, the first GPU, or the GPU of that number, counted from 0. */
export type DeviceName = 'cpu' | 'cuda' | `cuda:${number}`

/** A device that this machine has. */
export interface DeviceInfo {
  name: DeviceName
  /** What it is, such as 'NVIDIA H100 80GB HBM3'. */
  hardware: string
}

/** The devices of this machine that can be used. */
export function devices(): DeviceInfo[] {
  return native.devices()
}

let announced = false

function announce(chosen: string): void {
  if (announced) return
  announced = true
  const { hardware } = devices().find(d => d.name === chosen)!
  console.info(`anneal: device 'auto' is ${chosen}${hardware === chosen ? ', as there is no GPU' : ` (${hardware})`}`)
}

/**
 * Makes `device` the one on which `tensor()` and other creating functions put their results from now on, in this thread.
 * 'auto' takes the first GPU if there is one, and says once what it chose. Operations run where their inputs are.
 * Returns the device's full name.
 * @throws ERR_DEVICE where there is no such device; the message says why and what to do.
 */
export function setDevice(device: DeviceName | 'auto'): DeviceName {
  refuseWhileCapturing('setDevice()')
  const chosen = native.device(device) ?? throwLast()
  if (device === 'auto') announce(chosen)
  return chosen
}

/** The device on which new tensors are made. */
export function getDevice(): DeviceName {
  return native.device() ?? throwLast()
}
