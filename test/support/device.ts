import { devices, setDevice, type Tensor } from 'anneal'

/** The device that the tests run on: ANNEAL_TEST_DEVICE=cuda has all of them compute on a GPU, or on the emulator. */
export const testDevice = (process.env.ANNEAL_TEST_DEVICE ?? 'cpu') as 'cpu' | 'cuda'
setDevice(testDevice)

/** Whether that is a GPU that the CPU emulates: a thousand times slower. */
export const emulated = testDevice === 'cuda' && devices().some(d => d.name === 'cuda:0' && d.hardware === 'emulated')

/** Puts a test's input on the device that the tests run on. */
export function place(tensor: Tensor): Tensor {
  return tensor.to(testDevice)
}
