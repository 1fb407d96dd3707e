from latentline.main import main

main()
