# libanneal_ptx.so: what nvcc makes of the kernels for one compute capability, as C++ that the emulator runs.
find_program(ANNEAL_NVCC nvcc HINTS /usr/local/cuda/bin REQUIRED)
find_program(ANNEAL_NODE node REQUIRED)
set(folder ${CMAKE_CURRENT_BINARY_DIR}/ptx)
file(MAKE_DIRECTORY ${folder})
foreach(kernel ${kernels})
  get_filename_component(name ${kernel} NAME)
  set(contract "")
  if(kernel IN_LIST uncontracted)
    set(contract -fmad=false)
  endif()
  set(ptx ${folder}/${name}.ptx)
  add_custom_command(
    OUTPUT ${ptx} DEPENDS ${kernel} DEPFILE ${ptx}.d
    COMMAND ${ANNEAL_NVCC} -ptx -arch=compute_${ANNEAL_CUDA_PTX} -std=c++20 -O3 -DNDEBUG ${dialect} ${contract}
            -I${CMAKE_CURRENT_SOURCE_DIR} -I${CMAKE_CURRENT_SOURCE_DIR}/../native -MD -MF ${ptx}.d -o ${ptx} ${kernel})
  set(translate ${CMAKE_CURRENT_SOURCE_DIR}/emulate/ptx/translate.mjs)
  add_custom_command(OUTPUT ${ptx}.cpp DEPENDS ${ptx} ${translate}
                     COMMAND ${ANNEAL_NODE} ${translate} ${ptx} ${ptx}.cpp ${name})
  list(APPEND translated ${ptx}.cpp)
endforeach()
add_library(anneal_ptx MODULE ${translated})
target_include_directories(anneal_ptx PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/emulate ${CMAKE_CURRENT_SOURCE_DIR}
                                              ${CMAKE_CURRENT_SOURCE_DIR}/../native)
target_compile_definitions(anneal_ptx PRIVATE ANNEAL_CUDA_EMULATE)
# Numbers are rounded where PTX rounds them, and nowhere else.
target_compile_options(anneal_ptx PRIVATE -O1 -w -march=native -ffp-contract=off)
if(ANNEAL_CUDA_RACES)
  target_compile_definitions(anneal_ptx PRIVATE ANNEAL_EMULATE_RACES)
  target_compile_options(anneal_ptx PRIVATE -fsanitize=thread)
endif()
target_link_libraries(anneal_ptx PRIVATE anneal_cuda)
set_target_properties(anneal_ptx PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
