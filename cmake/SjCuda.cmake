# SJ_CUDA=AUTO|ON|OFF. Sets SJ_CUDA_FOUND and, where it is true, enables the CUDA language for
# CMAKE_CUDA_ARCHITECTURES (default: 80, 86, 89, 90 and PTX of the newest). Needs CUDA >= 12.
set(SJ_CUDA "AUTO" CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
set_property(CACHE SJ_CUDA PROPERTY STRINGS AUTO ON OFF)
set(SJ_CUDA_FOUND FALSE)

if(NOT SJ_CUDA STREQUAL "OFF")
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(
      SJ_NVCC
      nvcc
      HINTS
      ENV CUDA_HOME
      ENV CUDA_PATH
      PATHS /usr/local/cuda
      PATH_SUFFIXES bin
    )
    if(SJ_NVCC)
      set(CMAKE_CUDA_COMPILER "${SJ_NVCC}")
    endif()
  endif()
  # Must stand before enable_language, which otherwise fills it in.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90)
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12)
      message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} is older than 12: not used")
    else()
      set(SJ_CUDA_FOUND TRUE)
    endif()
  endif()
  if(SJ_CUDA STREQUAL "ON" AND NOT SJ_CUDA_FOUND)
    message(
      FATAL_ERROR
      "SJ_CUDA=ON, but no nvcc of CUDA >= 12 was found; set CUDACXX or CUDA_HOME."
    )
  endif()
endif()
